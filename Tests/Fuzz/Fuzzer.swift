import Glibc

/// Something that reads bytes from strangers, and what must be true of it whatever they are.
protocol Fuzzer: SendableMetatype {
  /// Files to begin with: some that are accepted, and some that nearly are.
  static var seeds: [[UInt8]] { get }

  /// Reads bytes, and calls ``require(_:_:)`` on what comes of them.
  static func read(_ bytes: [UInt8])
}

/// The fuzzers by their names on the command line.
let fuzzers: [(name: String, type: any Fuzzer.Type)] = [
  ("header", HeaderFuzzer.self), ("index", IndexFuzzer.self), ("names", NamesFuzzer.self),
  ("text", TextFuzzer.self), ("document", DocumentFuzzer.self), ("pickle", PickleFuzzer.self),
  ("torch", PyTorchFuzzer.self), ("npy", NPYFuzzer.self),
]

/// Ends the process, which is a find, where something is not as it must be.
func require(_ isTrue: Bool, _ what: @autoclosure () -> String) {
  if !isTrue { fatalError(what()) }
}

/// The fuzzer that the command line names, as its last argument: `--NAME`, which libFuzzer leaves alone.
private let chosen: any Fuzzer.Type = {
  guard let name = CommandLine.arguments.last(where: { $0.hasPrefix("--") })?.dropFirst(2),
    let fuzzer = fuzzers.first(where: { $0.name == name })
  else { fatalError("name a fuzzer: " + fuzzers.map { "--\($0.name)" }.joined(separator: " ")) }
  return fuzzer.type
}()

/// libFuzzer's entry: one input. 0 keeps it if it reaches something new.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  chosen.read(unsafe Array(UnsafeBufferPointer(start: start, count: count)))
  return 0
}

/// libFuzzer's start. With `seeds DIRECTORY` before the name it writes the seeds, and ends.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutablePointer<CInt>?, _: UnsafeMutableRawPointer?) -> CInt {
  let arguments = CommandLine.arguments
  guard arguments.count == 4, arguments[1] == "seeds" else { return 0 }
  for (number, seed) in chosen.seeds.enumerated() {
    let file = unsafe fopen("\(arguments[2])/seed-\(number)", "w")
    guard let file = unsafe file else { fatalError("cannot write to \(arguments[2])") }
    unsafe fwrite(seed, 1, seed.count, file)
    unsafe fclose(file)
  }
  exit(0)
}
