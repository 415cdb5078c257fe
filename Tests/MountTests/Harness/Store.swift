import Fixtures
import Glibc
import SystemPackage
import Testing

/// A directory on the FUSE file system of a test program, Tests/Below, which is as slow and as faulty as a test needs.
struct Store {
  /// The path at which the file system shows the directory.
  let path: FilePath
  /// The path of the directory itself, without delays.
  let below: FilePath

  /// Sets a value in the program, such as `latency=200`.
  func set(_ value: String) throws {
    let control = try FileDescriptor.open(path.appending(".control"), .writeOnly)
    try control.closeAfter { _ = try control.writeAll(value.utf8) }
  }

  /// The requests since ``Store/set(_:)`` was called with `reset=1`.
  struct Counts {
    /// The number of all requests, and of read requests.
    var requests = 0, reads = 0
    /// The number of reads that did not continue the last read of the same open file.
    var jumps = 0
    /// The number of reads that reached the end of the file.
    var tails = 0
    /// The number of bytes that were read.
    var bytes = 0
    /// The maximum number of requests in progress at the same time.
    var mostInFlight = 0
    /// The number of requests in progress.
    var underWay = 0
  }

  var counts: Counts {
    get throws {
      let text = try String(decoding: OpenFile(path.appending(".control")).bytes(), as: UTF8.self)
      var numbers: [Substring: Int] = [:]
      for line in text.split(separator: "\n") {
        let words = line.split(separator: " ")
        if words.count == 2 { numbers[words[0]] = Int(words[1]) }
      }
      return try Counts(
        requests: #require(numbers["requests"]), reads: #require(numbers["reads"]),
        jumps: #require(numbers["jumps"]), tails: #require(numbers["tails"]),
        bytes: #require(numbers["bytes"]),
        mostInFlight: #require(numbers["in_flight"]),
        underWay: #require(numbers["under_way"]))
    }
  }
}

/// Runs `body` with a store of some files and initial values. The page cache has nothing of the files.
func withStore<Result>(
  _ files: [(name: String, contents: SafetensorsFile)], _ values: String...,
  body: (Store) async throws -> Result
) async throws -> Result {
  let directory = try TemporaryDirectory()
  try directory.makeDirectory("files")
  for (name, contents) in files { try directory.write("files/\(name)", contents) }
  let program = try await CProgram("Below", libraries: "fuse3").compile()
  let below = directory.path.appending("files")
  let place = try directory.makeDirectory("store")
  let outcome = try await Command.run("\(program)", ["\(below)", "\(place)"] + values)
  try #require(outcome.status == 0, "\(outcome.error)")
  defer { _ = unsafe umount2("\(place)", Int32(MNT_DETACH)) }
  return try await body(Store(path: place, below: below))
}
