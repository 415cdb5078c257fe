import Fixtures
import Glibc
import SystemPackage
import Testing

/// A directory on a file system in a program, Tests/Below, that is as slow and as faulty as a test wants it.
struct Store {
  /// Where the directory is seen.
  let path: FilePath
  /// The directory itself, which is as fast as any.
  let below: FilePath

  /// Sets a value of that program, such as `latency=200`.
  func set(_ value: String) throws {
    let control = try FileDescriptor.open(path.appending(".control"), .writeOnly)
    try control.closeAfter { _ = try control.writeAll(value.utf8) }
  }

  /// What has been asked for since ``Store/set(_:)`` had `reset=1`.
  struct Counts {
    /// Requests of all kinds, and those that read.
    var requests = 0, reads = 0
    /// Reads that did not begin where the last one by the same open file ended.
    var jumps = 0
    /// How many bytes were read.
    var bytes = 0
    /// The most requests that were under way at a time.
    var mostInFlight = 0
    /// Those that are under way.
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
        jumps: #require(numbers["jumps"]), bytes: #require(numbers["bytes"]),
        mostInFlight: #require(numbers["in_flight"]),
        underWay: #require(numbers["under_way"]))
    }
  }
}

/// Runs `body` with a store that holds some files, and begins with some values. Nothing of them is in memory.
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
