import Fixtures
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import FUSE
import Linux

/// A file system whose file `0` answers at any time, and whose other files answer only after a read of `0`.
private final class WaitingFileSystem: FileSystem {
  /// The number of reads that wait.
  let waiting = Mutex(0)
  /// The number of reads that gave up. The kernel requests such a read a second time.
  let timedOut = Mutex(0)
  private let isFirstRead = Mutex(false)

  func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes? {
    guard name.count == 1, (0x30...0x7A).contains(name[0]) else { return nil }
    return try attributes(of: InodeNumber(number: UInt64(name[0] - 0x30) + 2))
  }

  func attributes(of inode: InodeNumber) throws(Errno) -> Attributes {
    let time = Attributes.Time(seconds: 0, nanoseconds: 0)
    return Attributes(
      inode: inode, kind: inode == .root ? .directory : .file, permissions: 0o555,
      linkCount: inode == .root ? 2 : 1, size: 1, owner: 0, group: 0,
      accessTime: time, modificationTime: time, changeTime: time)
  }

  func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer)
    throws(Errno)
  {}

  func read(_ file: InodeNumber, at offset: UInt64, count: Int) throws(Errno) -> ReadAnswer {
    let byte = UInt8(file.number)
    if file.number == 2 {
      isFirstRead.withLock { $0 = true }
      return .bytes([byte])
    }
    return .computed(count: 1, from: [SlowSource()], reading: []) { [self] target throws(Errno) in
      waiting.withLock { $0 += 1 }
      let end = ContinuousClock.now + .seconds(300)
      while !isFirstRead.withLock({ $0 }) {
        guard ContinuousClock.now < end else {
          timedOut.withLock { $0 += 1 }
          throw .timedOut
        }
        usleep(1000)
      }
      target.storeBytes(of: byte, as: UInt8.self)
    }
  }

  func statistics() -> Statistics { Statistics(size: 75, inodes: 76) }
}

/// A source that may make an answer wait.
private struct SlowSource: ReplySource {
  var descriptor: FileDescriptor { .standardInput }
  var isRemote: Bool { false }
  @_lifetime(borrow self)
  func mappedBytes(_ range: Range<UInt64>) -> RawSpan? { nil }
  func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) -> Bool { true }
  func announce(_ range: Range<UInt64>) {}
  func isUnchanged() -> Bool { true }
  func failed(_ error: Errno) {}
}

/// Reads the only byte of the file whose name is the character `number` places after `0`.
private func byte(of number: Int, in directory: FilePath) throws -> UInt8 {
  let name = String(decoding: [UInt8(0x30 + number)], as: UTF8.self)
  let file = try FileDescriptor.open(directory.appending(name), .readOnly)
  return try file.closeAfter {
    var byte: UInt8 = 0
    let count = try unsafe withUnsafeMutableBytes(of: &byte) { try unsafe file.read(into: $0) }
    guard count == 1 else { throw Errno.ioError }
    return byte
  }
}

/// Starts `count` readers that wait, one per file, and then reads the file that they wait for.
private func readWhileOthersWait(_ count: Int) throws {
  let directory = try TemporaryDirectory()
  let fileSystem = WaitingFileSystem()
  let session = try Session(fileSystem: fileSystem, options: MountOptions())
  try session.mount(at: MountPoint(checking: directory.path, shownAs: "here"))
  let server = WorkerThread { try? session.run {} }
  defer {
    session.detach()
    server?.join()
  }
  // After enough sequential requests, one worker receives alone.
  for number in 0..<100 { _ = try? Stat(directory.path.appending("missing.\(number)")) }
  let results = Mutex<[UInt8]>([])
  let readers = (1...count).map { number in
    WorkerThread {
      if let byte = try? byte(of: number, in: directory.path) {
        results.withLock { $0.append(byte) }
      }
    }
  }
  // A read that was held up would get here only after another one gave up, which the count below would show.
  while fileSystem.waiting.withLock({ $0 }) < count { usleep(1000) }
  #expect(try byte(of: 0, in: directory.path) == 2)
  for reader in readers { reader?.join() }
  #expect(fileSystem.timedOut.withLock { $0 } == 0)
  #expect(results.withLock { $0.sorted() } == (1...count).map { UInt8($0 + 2) })
}

/// Each test mounts in a process of its own.
@Suite("Workers") struct WorkerTests {
  @Test("A waiting read does not delay another one")
  func one() async {
    await #expect(processExitsWith: .success) { try readWhileOthersWait(1) }
  }

  @Test("As many reads that wait as there are workers, and many more, hold up no other one")
  func many() async {
    await #expect(processExitsWith: .success) { try readWhileOthersWait(8) }
    await #expect(processExitsWith: .success) { try readWhileOthersWait(64) }
  }
}
