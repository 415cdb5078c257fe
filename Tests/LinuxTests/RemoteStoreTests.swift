import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import Linux

/// Reads of files on a disk through a `RemoteStore`.
@Suite struct RemoteStoreTests {
  private let bytes = TensorData.bytes("U8", [(9 << 20) + 1234], seed: 5)

  /// Runs `body` with a file that a store reads.
  private func withStore(
    isDirect: Bool = true, _ body: (RemoteStore, FileDescriptor) async throws -> Void
  ) async throws {
    let directory = try TemporaryDirectory()
    let file = try FileDescriptor.open(try directory.write("file", bytes), .readWrite)
    defer { try? file.close() }
    // Writes the pages back, so that the kernel can drop them.
    try #require(fsync(file.rawValue) == 0)
    let descriptions = (0..<3).compactMap { _ in RemoteFiles.reopen(file) }
    let remote = try #require(RemoteFile(descriptions, size: UInt64(bytes.count), isDirect: isDirect))
    try await body(RemoteStore([file.rawValue: remote]), file)
  }

  private static func read(
    _ range: Range<Int>, of file: FileDescriptor, by store: RemoteStore
  ) throws(Errno) -> [UInt8] {
    try [UInt8](filling: range.count) { target throws(Errno) in
      try unsafe target.withUnsafeMutableBytes { buffer throws(Errno) in
        _ = try unsafe store.read(from: UInt64(range.lowerBound), of: file, into: buffer)
      }
    }
  }

  @Test(
    "Concurrent reads at random offsets get the file's bytes, fetched or not", arguments: [true, false])
  func random(isDirect: Bool) async throws {
    try await withStore(isDirect: isDirect) { store, file in
      let bytes = bytes
      try await withThrowingTaskGroup { group in
        for seed in 0..<4 as Range<UInt64> {
          group.addTask {
            var generator = SeededGenerator(seed: seed)
            for _ in 0..<20 {
              let start = Int.random(in: 0..<bytes.count, using: &generator)
              let end = min(bytes.count, start + Int.random(in: 1...1 << 20, using: &generator))
              // Drops the pages, because the store takes bytes that the page cache has from there.
              posix_fadvise(file.rawValue, 0, 0, Int32(POSIX_FADV_DONTNEED))
              if Bool.random(using: &generator) { store.fetch(UInt64(start)..<UInt64(end), of: file) }
              let part = try Self.read(start..<end, of: file, by: store)
              #expect(part == Array(bytes[start..<end]), "\(start)..<\(end)")
            }
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test("After a truncation, reads beyond the end fail with ESTALE, and other reads work")
  func truncated() async throws {
    try await withStore { store, file in
      try file.resize(to: 5 << 20)
      for _ in 0..<3 {
        store.fetch(4 << 20..<9 << 20, of: file)
        _ = #expect(throws: Errno.staleNFSFileHandle) {
          try Self.read(5 << 20..<5 << 20 + 1, of: file, by: store)
        }
        #expect(try Self.read(100..<2 << 20, of: file, by: store) == Array(bytes[100..<2 << 20]))
      }
    }
  }

  @Test("Reading a file that the store does not know is an error")
  func unknown() async throws {
    try await withStore { store, _ in
      _ = #expect(throws: Errno.badFileDescriptor) { try Self.read(0..<1, of: .standardInput, by: store) }
    }
  }
}
