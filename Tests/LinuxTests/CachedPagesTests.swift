import Fixtures
import Glibc
import SystemPackage
import Testing

import Linux

@Suite("Bytes in the page cache") struct CachedPagesTests {
  private let bytes = (0..<10_000).map { UInt8($0 % 251) }

  /// Runs `body` with a file that was just written.
  private func withFile(_ body: (FileDescriptor) throws -> Void) throws {
    let directory = try TemporaryDirectory()
    let file = try FileDescriptor.open(try directory.write("file", bytes), .readOnly)
    try file.closeAfter { try body(file) }
  }

  /// Bytes that are in the page cache; nil if they are not.
  private func cached(_ range: Range<UInt64>, of file: FileDescriptor) -> [UInt8]? {
    try? [UInt8](filling: range.count) { target throws(Errno) in
      guard CachedPages.read(from: range.lowerBound, of: file, into: &target) else { throw .noData }
    }
  }

  @Test("Bytes that were just written are returned if the file system supports it, and none otherwise")
  func written() throws {
    try withFile { file in
      let pinned = try PinnedPages(file, 0..<10_000)
      defer { withExtendedLifetime(pinned) {} }
      let canTell = CachedPages.areResident(1..<9_999, of: file)
      #expect(cached(1..<9_999, of: file) == (canTell ? Array(bytes[1..<9_999]) : nil))
    }
  }

  @Test("A file on tmpfs is in memory even if the file system refuses non-blocking reads")
  func memory() throws {
    let name = FilePath("/dev/shm/stmount-cached-pages-\(getpid())")
    let file = try FileDescriptor.open(
      name, .readWrite, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
    try file.closeAfter {
      #expect(unsafe unlink("\(name)") == 0)
      _ = try file.writeAll(bytes)
      let pinned = try PinnedPages(file, 0..<10_000)
      defer { withExtendedLifetime(pinned) {} }
      #expect(CachedPages.areResident(1..<9_999, of: file))
      #expect(cached(1..<9_999, of: file) == Array(bytes[1..<9_999]))
      #expect(cached(5_000..<10_001, of: file) == nil)
    }
  }

  @Test("A range beyond the end of the file is never returned in part")
  func end() throws {
    try withFile { file in
      #expect(cached(5_000..<10_001, of: file) == nil)
      #expect(!CachedPages.areResident(5_000..<10_001, of: file))
    }
  }

  @Test("Dropped pages are not in memory")
  func dropped() throws {
    try withFile { file in
      #expect(fsync(file.rawValue) == 0)
      // At first, the kernel cannot drop pages that are in a processor's list of new pages.
      for _ in 0..<100 where CachedPages.areResident(0..<10_000, of: file) {
        #expect(posix_fadvise(file.rawValue, 0, 0, Int32(POSIX_FADV_DONTNEED)) == 0)
        usleep(10_000)
      }
      #expect(!CachedPages.areResident(0..<10_000, of: file))
      // The question makes the kernel fetch the bytes, and a fast disk may deliver them before it looks. So either none or all are there.
      let fetched = cached(0..<10_000, of: file)
      #expect(fetched == nil || fetched == bytes)
    }
  }
}
