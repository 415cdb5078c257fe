import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Open source files") struct MappedFileTests {
  private let directory: TemporaryDirectory
  private let path: FilePath
  private let file: SourceFile
  private static let contents: [UInt8] = Array(0..<200)

  init() throws {
    directory = try TemporaryDirectory()
    path = try directory.write("d/file", Self.contents)
    // The file was written a minute ago, so every later act has another time.
    try Self.setTime(of: path, secondsAgo: 60)
    file = try SourceFile(opening: path)
  }

  private static func setTime(of path: FilePath, secondsAgo: Int) throws {
    var now = timespec()
    #expect(unsafe clock_gettime(CLOCK_REALTIME, &now) == 0)
    now.tv_sec -= secondsAgo
    try setTime(of: path, now)
  }

  private static func setTime(of path: FilePath, _ time: timespec) throws {
    let times = [time, time]
    // Waits longer than a tick of the clock that file times come from.
    usleep(20_000)
    try #require(unsafe utimensat(AT_FDCWD, path.string, times, 0) == 0)
  }

  private func rename(_ from: FilePath, _ to: FilePath) throws {
    usleep(20_000)
    try #require(unsafe Glibc.rename(from.string, to.string) == 0)
  }

  /// Writes into the existing file, and restores its modification time.
  private func rewriteStealthily(_ path: FilePath) throws {
    let descriptor = try FileDescriptor.open(path, .writeOnly)
    try descriptor.closeAfter { _ = try descriptor.writeAll(toAbsoluteOffset: 3, [0xFF]) }
    try Self.setTime(of: path, file.status.st_mtim)
  }

  // MARK: Reading

  @Test("Reads and mappings have the file's bytes")
  func reading() throws {
    #expect(file.size == 200)
    #expect(try file.read(from: 0, count: 200) == Self.contents)
    #expect(try file.read(from: 7, count: 5) == [7, 8, 9, 10, 11])
    #expect(try file.read(from: 200, count: 0) == [])
    #expect(file.mappedElements(0..<200) == Self.contents)
    #expect(file.mappedElements(199..<200) == [199])
    #expect(file.mappedElements(5..<5) == [])
  }

  @Test("A range beyond the end of the file is not mapped, and reading it is an error")
  func pastTheEnd() {
    #expect(file.mappedElements(0..<201) == nil)
    #expect(file.mappedElements(UInt64.max - 1..<UInt64.max) == nil)
    #expect(throws: Errno.staleNFSFileHandle) { try file.read(from: 0, count: 201) }
    #expect(throws: Errno.staleNFSFileHandle) { try file.read(from: 500, count: 1) }
  }

  @Test("An empty file can be opened")
  func empty() throws {
    let file = try SourceFile(opening: try directory.write("empty", []))
    #expect(file.size == 0)
    #expect(file.mappedElements(0..<0) == nil)
    #expect(try file.read(from: 0, count: 0) == [])
    #expect(file.isUnchanged())
  }

  @Test("Reading truncated bytes is an error, not a signal")
  func readingTruncated() throws {
    try #require(unsafe truncate(path.string, 100) == 0)
    #expect(throws: Errno.staleNFSFileHandle) { try file.read(from: 50, count: 100) }
    #expect(try file.read(from: 0, count: 100) == Array(Self.contents.prefix(100)))
  }

  @Test("Releasing the object closes the file")
  func closing() throws {
    #expect(openDescriptors() == 1)
    var second: SourceFile? = try SourceFile(opening: path)
    #expect(second?.isUnchanged() == true)
    #expect(openDescriptors() == 2)
    second = nil
    #expect(openDescriptors() == 1)
  }

  /// The number of this process's descriptors of this file.
  private func openDescriptors() -> Int {
    // Tests that run at the same time may have thousands of open descriptors.
    (0..<CInt(1 << 16)).count { number in
      guard let status = try? Stat(FileDescriptor(rawValue: number)) else { return false }
      return status.inode == file.status.inode && status.deviceID == file.status.deviceID
    }
  }

  // MARK: Changes that do not matter

  @Test("A file that nobody touches is unchanged")
  func untouched() throws {
    for _ in 0..<3 { #expect(file.isUnchanged()) }
    _ = try file.read(from: 0, count: 10)
    #expect(file.isUnchanged())
  }

  @Test("Renaming, moving or replacing the file or its directory is not a change")
  func renaming() throws {
    let second = path.removingLastComponent().appending("other")
    try rename(path, second)
    #expect(file.isUnchanged())
    let third = directory.path.appending("moved")
    try rename(second, third)
    #expect(file.isUnchanged())
    try rename(path.removingLastComponent(), directory.path.appending("e"))
    #expect(file.isUnchanged())
    try directory.write("d/file", [1, 2, 3])
    #expect(file.isUnchanged())
    // Some programs save a new version by renaming it to the name of a file that is open here.
    let held = try SourceFile(opening: third)
    try rename(try directory.write("new", [9]), third)
    #expect(held.isUnchanged())
    #expect(try held.read(from: 0, count: 3) == [0, 1, 2])
  }

  @Test("Deleting the file is not a change, and its bytes stay readable")
  func deleting() throws {
    usleep(20_000)
    try #require(unsafe unlink(path.string) == 0)
    #expect(file.isUnchanged())
    #expect(file.mappedElements(0..<3) == [0, 1, 2])
    #expect(file.isUnchanged())
  }

  @Test("Linking the file, and changing its mode or owner, is not a change")
  func attributes() throws {
    usleep(20_000)
    try #require(unsafe link(path.string, directory.path.appending("link").string) == 0)
    #expect(file.isUnchanged())
    for mode: mode_t in [0o400, 0o600, 0o400, 0o644] {
      usleep(20_000)
      try #require(unsafe chmod(path.string, mode) == 0)
      #expect(file.isUnchanged())
    }
    usleep(20_000)
    try #require(unsafe unlink(path.string) == 0)
    #expect(file.isUnchanged())
  }

  // MARK: Changes that do

  @Test("A truncated file stays changed, even after its bytes and its mtime are restored")
  func truncating() throws {
    try #require(unsafe truncate(path.string, 100) == 0)
    #expect(!file.isUnchanged())
    try directory.write("d/file", Self.contents)
    try Self.setTime(of: path, file.status.st_mtim)
    // chmod explains a new change time, but must not hide the truncation.
    try #require(unsafe chmod(path.string, 0o600) == 0)
    #expect(!file.isUnchanged())
  }

  @Test("An extended file stays changed")
  func extending() throws {
    try #require(unsafe truncate(path.string, 201) == 0)
    #expect(!file.isUnchanged())
    try #require(unsafe truncate(path.string, 200) == 0)
    try Self.setTime(of: path, file.status.st_mtim)
    #expect(!file.isUnchanged())
  }

  @Test("A file that was rewritten in place stays changed")
  func rewriting() throws {
    try directory.write("d/file", Self.contents)
    #expect(!file.isUnchanged())
    try Self.setTime(of: path, file.status.st_mtim)
    #expect(!file.isUnchanged())
  }

  @Test("A file that was rewritten with a restored mtime is changed")
  func rewritingStealthily() throws {
    try rewriteStealthily(path)
    #expect(try Stat(path).st_mtim.tv_nsec == file.status.st_mtim.tv_nsec)
    #expect(!file.isUnchanged())
    #expect(!file.isUnchanged())
  }

  @Test("A rewrite after renaming, deleting or chmod is a change")
  func rewritingLater() throws {
    let moved = directory.path.appending("moved")
    try rename(path, moved)
    try #require(unsafe link(moved.string, directory.path.appending("link").string) == 0)
    try #require(unsafe chmod(moved.string, 0o600) == 0)
    #expect(file.isUnchanged())
    try rewriteStealthily(moved)
    #expect(!file.isUnchanged())
    try #require(unsafe chmod(moved.string, 0o644) == 0)
    #expect(!file.isUnchanged())
  }
}
