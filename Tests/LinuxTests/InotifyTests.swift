import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import Linux

@Suite("inotify events") struct InotifyTests {
  private let directory: TemporaryDirectory
  private let inotify: Inotify

  init() throws {
    directory = try TemporaryDirectory()
    inotify = try Inotify()
  }

  private func watch(_ path: FilePath) throws -> Inotify.WatchNumber {
    let file = try FileDescriptor.open(path, .readOnly)
    return try file.closeAfter {
      try inotify.watch(file, for: [.modified, .attributes, .moved, .closedByWriter])
    }
  }

  private func events() -> [Inotify.Events] {
    var all: [Inotify.Events] = []
    inotify.drain { all.append($1) }
    return all
  }

  @Test(
    "Writes, attributes, renaming and closing are distinguished and in order; reading the queue never waits")
  func kinds() throws {
    let path = try directory.write("file", [1, 2, 3])
    _ = try watch(path)
    #expect(events().isEmpty)
    try path.setPermissions(0o600)
    try directory.write("file", [4, 5, 6])
    try #require(unsafe rename("\(path)", "\(path).new") == 0)
    #expect(events() == [.attributes, .modified, .closedByWriter, .moved])
    #expect(events().isEmpty)
  }

  @Test("A watch is for an inode, not a path, and the same inode keeps its number")
  func inodes() throws {
    let path = try directory.write("file", [1])
    let number = try watch(path)
    #expect(try watch(path) == number)
    try #require(unsafe rename("\(path)", "\(path).old") == 0)
    #expect(try watch(directory.write("file", [2])) != number)
    #expect(events() == [.moved])
  }

  @Test("A thread that may not open files can read the queue")
  func confined() throws {
    let path = try directory.write("file", [1])
    _ = try watch(path)
    try path.setPermissions(0o600)
    nonisolated(unsafe) var seen: [Inotify.Events] = []
    let thread = WorkerThread {
      LeastPrivilege.confineThread()
      unsafe seen = events()
    }
    thread?.join()
    #expect(unsafe seen == [.attributes])
  }

  @Test("Events that do not fit into one read are all delivered")
  func many() throws {
    let paths = try (0..<2).map { try directory.write("f\($0)", [1]) }
    for path in paths { _ = try watch(path) }
    for _ in 0..<3_000 { for path in paths { try path.setPermissions(0o600) } }
    #expect(events() == Array(repeating: .attributes, count: 6_000))
  }
}

@Suite("Reliability of file systems' change reports") struct FileSystemKindTests {
  private func kind(_ magic: UInt32, _ kernel: (Int, Int) = (6, 18), nanoseconds: Int = 7) -> FileSystemKind {
    FileSystemKind(magic: magic, kernel: kernel, nanoseconds: nanoseconds)
  }

  @Test(
    "Local file systems report all writes; network, FUSE and unknown ones do not",
    arguments: [
      (0xEF53, FileSystemKind.Reports.all), (0x5846_5342, .all), (0x0102_1994, .all), (0x6969, .some),
      (0xFF53_4D42, .some), (0x6573_5546, .some), (0x0102_1997, .some), (0, .some), (0x794C_7630, .ownMount),
    ] as [(UInt32, FileSystemKind.Reports)])
  func reports(magic: UInt32, reports: FileSystemKind.Reports) {
    #expect(kind(magic).reports == reports)
  }

  @Test("Times are fine-grained since Linux 6.13 if the file system can store them")
  func times() {
    #expect(
      !kind(0xEF53).hasCoarseTimes && !kind(0xEF53, (6, 13)).hasCoarseTimes
        && !kind(0xEF53, (7, 0)).hasCoarseTimes)
    #expect(kind(0xEF53, (6, 12)).hasCoarseTimes && kind(0xEF53, (5, 15)).hasCoarseTimes)
    #expect(kind(0xEF53, nanoseconds: 0).hasCoarseTimes)
    #expect(kind(0xF2F5_2010).hasCoarseTimes && kind(0x6969).hasCoarseTimes)
  }
}
