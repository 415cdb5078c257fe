import Fixtures
import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// One reader of hostile bytes, as libFuzzer calls it.
protocol FuzzTarget: SendableMetatype {
  /// Inputs to begin with: what the reader accepts, and what it refuses for one reason.
  static var seeds: [[UInt8]] { get }
  /// Words of the format, which random inputs do not contain.
  static var words: [String] { get }
  /// Reads an input; ``require(_:_:)`` reports every problem of the result.
  static func test(_ input: [UInt8])
}

/// All targets, by the name that the command line has for them.
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

/// What follows `name` on the command line.
private func option(_ name: String) -> String? {
  CommandLine.arguments.first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
}

/// The largest input, in bytes: libFuzzer's -max_len, and the limit of seeds.
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
      // Not as a main of its own: SwiftPM's executables have theirs.
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
  // libFuzzer's bytes live as long as the call.
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

/// What the process has used so far: getrusage(2). An input that takes more than another of its size by far is a
/// find as a crash is.
private struct Usage {
  /// Of one input, in seconds of a processor and in bytes.
  static let secondsLimit = 1.0
  static let peakLimit = 64 << 20

  let seconds: Double
  /// The most memory at any time, in bytes.
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

/// Ends the process where something is not as it must be, which libFuzzer reports with the input.
func require(_ condition: Bool, _ problem: @autoclosure () -> String) {
  if !condition { fatalError(problem()) }
}

/// A message must be one line that is safe to print, and not long.
func requirePrintable(_ message: String) {
  require(
    PrintableText.line(message) == message, "a message is not safe to print: \(message.debugDescription)")
  require(message.utf8.count < 4096, "a message has \(message.utf8.count) bytes")
}

/// Random numbers that depend only on an input.
func generator(for input: [UInt8]) -> SeededGenerator {
  // FNV-1a.
  SeededGenerator(seed: input.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 })
}

/// A file for readers of files, rewritten for each input; in `$TMPDIR`, which should be in memory.
enum ScratchFile {
  private static let directory = try? TemporaryDirectory()

  /// Writes the file, and makes it `size` bytes long; a hole is its end.
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
