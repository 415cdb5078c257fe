import Fixtures
import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A reader of hostile bytes, as a target of libFuzzer.
protocol FuzzTarget: SendableMetatype {
  /// Initial inputs: some that the reader accepts, and some that it refuses for a single reason.
  static var seeds: [[UInt8]] { get }
  /// Words of the format, which random inputs rarely contain.
  static var words: [String] { get }
  /// Reads an input. Calls ``require(_:_:)`` for every property that must hold.
  static func test(_ input: [UInt8])
}

/// All targets, by their names on the command line.
private let targets: [(name: String, type: any FuzzTarget.Type)] = [
  ("header", HeaderFuzzer.self), ("index", IndexFuzzer.self), ("names", NamesFuzzer.self),
  ("text", TextFuzzer.self),
  ("document", DocumentFuzzer.self), ("directory", DirectoryFuzzer.self), ("npy", NPYFuzzer.self),
  ("pickle", PickleFuzzer.self), ("zip", ZipFuzzer.self), ("distributed", DistributedFuzzer.self),
  ("quantization", QuantizationFuzzer.self),
]

/// The target that `--target=NAME` asks for.
private let target: any FuzzTarget.Type = {
  let name = option("--target=")
  guard let found = targets.first(where: { $0.name == name }) else {
    fatalError("--target= is one of " + targets.map(\.name).joined(separator: " "))
  }
  return found.type
}()

/// The value after `name` on the command line.
private func option(_ name: String) -> String? {
  CommandLine.arguments.first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
}

/// The maximum size of an input, in bytes: libFuzzer's -max_len, and the limit for seeds.
private let maximumSize = 16_384

/// The fuzzer of one target: `Fuzzer --target=NAME`, and then libFuzzer's own options.
///
/// With `--list`, prints the targets; with `--seeds=DIRECTORY`, writes the target's seeds there, and its words into
/// `DIRECTORY.dict`.
@main struct Fuzzer {
  static func main() {
    if CommandLine.arguments.contains("--list") {
      print(targets.map(\.name).joined(separator: "\n"))
    } else if let directory = option("--seeds=") {
      do {
        try writeSeeds(to: FilePath(directory))
      } catch {
        fatalError("cannot write seeds to \(directory): \(error)")
      }
    } else {
      var count = CommandLine.argc
      var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = unsafe CommandLine.unsafeArgv
      // The name is not `main`, because SwiftPM gives executables a main function of their own.
      unsafe exit(runDriver(&count, &arguments, testOneInput))
    }
  }
}

/// libFuzzer as a library: LLVMFuzzerRunDriver.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
  _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

private func writeSeeds(to directory: FilePath) throws {
  func write(_ path: FilePath, _ bytes: some Sequence<UInt8>) throws {
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .truncate, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
    try file.closeAfter { _ = try file.writeAll(bytes) }
  }
  for (number, seed) in target.seeds.enumerated() where seed.count <= maximumSize {
    try write(directory.appending("seed-\(number)"), seed)
  }
  let words = target.words.map { word in
    "\"" + word.utf8.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "\"\n"
  }
  try write(FilePath("\(directory).dict"), words.joined().utf8)
}

/// Called for each input.
private func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  // libFuzzer frees the bytes after the call.
  let input = unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: count))
  let before = Usage()
  target.test(input)
  let after = Usage()
  require(
    after.seconds - before.seconds < Usage.secondsLimit,
    "it takes \(after.seconds - before.seconds) seconds of a processor")
  require(
    after.peak - before.peak < Usage.peakLimit, "it takes \((after.peak - before.peak) >> 20) MiB of memory")
  return 0
}

/// The resources that the process has used: getrusage(2). An input that takes far more than another one of the same size is a
/// finding, like a crash.
private struct Usage {
  /// The limits for one input, in seconds of processor time and in bytes.
  static let secondsLimit = 1.0
  static let peakLimit = 64 << 20

  let seconds: Double
  /// The peak memory of the process, in bytes.
  let peak: Int

  init() {
    var usage = rusage()
    unsafe getrusage(CInt(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    self.seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)
    peak = usage.ru_maxrss << 10
  }
}

// MARK: - For the targets

/// Ends the process if a condition does not hold. libFuzzer then reports the input.
func require(_ condition: Bool, _ problem: @autoclosure () -> String) {
  if !condition { fatalError(problem()) }
}

/// Requires that a message is one line, safe to print, and not long.
func requirePrintable(_ message: String) {
  require(
    PrintableText.line(message) == message, "a message is not safe to print: \(message.debugDescription)")
  require(message.utf8.count < 4096, "a message has \(message.utf8.count) bytes")
}

/// A generator of random numbers that depends only on an input.
func generator(for input: [UInt8]) -> SeededGenerator {
  // FNV-1a.
  SeededGenerator(seed: input.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 })
}

/// A file for readers that need one, rewritten for each input, in `$TMPDIR`, which should be in memory.
enum ScratchFile {
  private static let directory = try? TemporaryDirectory()

  /// Writes the file, and extends it to `size` bytes with a hole.
  static func write(_ bytes: [UInt8], size: Int) -> FilePath {
    do {
      guard let path = try directory?.write("model", bytes) else { fatalError("there is no directory") }
      if size > bytes.count {
        let file = try FileDescriptor.open(path, .writeOnly, options: .closeOnExec)
        try file.closeAfter { try file.resize(to: Int64(size)) }
      }
      return path
    } catch {
      fatalError("cannot write a file: \(error)")
    }
  }
}
