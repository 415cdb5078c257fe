import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import FUSE
import Linux
@testable import Models
import Safetensors
@testable import TensorFiles
@testable import TensorFS

/// The cached pages of a file that was not read before.
@Suite("Prefetching") struct ReadAheadTests {
  private static let size: UInt64 = 40 << 20

  /// Runs `body` with a file without cached pages: a hole that was never written or read.
  private func withFile(_ body: (FileDescriptor) async throws -> Void) async throws {
    let directory = try TemporaryDirectory()
    let file = try FileDescriptor.open(try directory.write("file", []), .readWrite)
    defer { try? file.close() }
    try file.resize(to: Int64(Self.size))
    #expect(CachedPages.hold(0..<Self.size, of: file) == false, "cachestat tells: Linux 6.5 or newer")
    try await body(file)
  }

  /// Reports reads of the first bytes to the stream, one by one. Reads nothing.
  private static func stream(_ count: UInt64, in file: FileDescriptor, of readAhead: ReadAhead) {
    for start in stride(from: 0, to: count, by: 1 << 20) {
      readAhead.noteRead(start..<start + 1 << 20, of: 0..<size, in: file, size: size)
    }
  }

  /// True if each part of the range gets into the page cache within a minute. Asks only cachestat(2), because a read would start the
  /// kernel's read-ahead.
  ///
  /// Does not require all parts at the same time, because the kernel may drop unused pages. Lets the thread sleep instead of the task,
  /// because a busy thread pool may resume a task too late.
  private func arrives(_ range: Range<UInt64>, of file: FileDescriptor) -> Bool {
    let size: UInt64 = 64 << 10
    var missing = stride(from: range.lowerBound, to: range.upperBound, by: Int(size)).map { $0..<$0 + size }
    for _ in 0..<12_000 {
      missing.removeAll { CachedPages.hold($0, of: file) == true }
      if missing.isEmpty { return true }
      usleep(5000)
    }
    return false
  }

  @Test("At least 8 MiB of a stream are prefetched")
  func stream() async throws {
    try await withFile { file in
      let readAhead = ReadAhead()
      Self.stream(16 << 20, in: file, of: readAhead)
      let hasArrived = arrives(16 << 20..<24 << 20, of: file)
      #expect(hasArrived)
    }
  }

  @Test("The descriptor may be closed after the read was recorded")
  func closed() async throws {
    try await withFile { file in
      let readAhead = ReadAhead()
      let other = try file.duplicate()
      Self.stream(8 << 20, in: other, of: readAhead)
      try other.close()
      let hasArrived = arrives(8 << 20..<12 << 20, of: file)
      #expect(hasArrived)
    }
  }

  @Test("A stream is prefetched to the end of the file, even if the file is shorter than its tensors")
  func end() async throws {
    try await withFile { file in
      let short = ReadAhead()
      for start in stride(from: 0, to: Self.size, by: 1 << 20) {
        short.noteRead(start..<start + 1 << 20, of: 0..<Self.size, in: file, size: 5000)
      }
      Self.stream(Self.size, in: file, of: ReadAhead())
      let hasArrived = arrives(Self.size - 1 << 20..<Self.size, of: file)
      #expect(hasArrived)
    }
  }

  @Test("A single read prefetches nothing, and an announced range prefetches only itself")
  func lone() async throws {
    try await withFile { file in
      ReadAhead().noteRead(20 << 20..<21 << 20, of: 0..<Self.size, in: file, size: Self.size)
      CachedPages.announce(4 << 20..<5 << 20, of: file)
      let hasArrived = arrives(4 << 20..<5 << 20, of: file)
      #expect(hasArrived)
      for start in stride(from: 0, to: Self.size, by: 1 << 20) where start != 4 << 20 {
        #expect(CachedPages.hold(start..<start + 1 << 20, of: file) == false, "\(start)")
      }
    }
  }
}
