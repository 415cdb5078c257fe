import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Sources that change while they are mounted. Reads never return wrong bytes.
  @Suite struct ChangedSourceTests {
    private static let tensor = SafetensorsFile.Tensor("w", "U8", [2_000_001])
    private static let other = SafetensorsFile.Tensor("other", "U8", [100_003])
    private static let sourceBytes = SafetensorsFile(tensor).bytes
    private static let otherBytes = SafetensorsFile(other).bytes
    private static let rewritten = sourceBytes.prefix(sourceBytes.count - 2_000_001) + tensor.data.map { ~$0 }
    private let files: TemporaryDirectory
    private let source: FilePath
    private let unchanged: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", Self.sourceBytes)
      unchanged = try files.write("other.safetensors", Self.otherBytes)
    }

    enum Change: String, CaseIterable, Sendable {
      case truncatedToNothing, truncatedInTheMiddle, truncatedByOneByte, extended
      case rewrittenInPlace, rewrittenWithItsOldTimes, touched
    }

    private func apply(_ change: Change) throws {
      let file = try FileDescriptor.open(source, .readWrite, options: .closeOnExec)
      let before = try Stat(source)
      let size = before.size
      try file.closeAfter {
        switch change {
        case .truncatedToNothing: try file.resize(to: 0)
        case .truncatedInTheMiddle: try file.resize(to: size / 2)
        case .truncatedByOneByte: try file.resize(to: size - 1)
        case .extended: try file.resize(to: size + 1)
        case .rewrittenInPlace, .rewrittenWithItsOldTimes:
          try file.writeAll(Self.rewritten)
        case .touched: break
        }
      }
      if change == .touched { try setTimes(of: source, access: (1, 0), modification: (2, 0)) }
      if change == .rewrittenWithItsOldTimes {
        let (access, modified) = (before.st_atim, before.st_mtim)
        try setTimes(
          of: source, access: (access.tv_sec, access.tv_nsec),
          modification: (modified.tv_sec, modified.tv_nsec))
      }
    }

    /// Reads a file in pieces, and returns how many pieces fail with EIO. Expects bytes that are returned to be correct. If a read
    /// returns fewer bytes than requested before the end of the file, expects the read of the rest to fail.
    private func failingReads(of file: OpenFile, step: Int = 65_536) throws -> Int {
      let data = Self.tensor.data
      var failures = 0
      for start in stride(from: 0, to: data.count, by: step) {
        var offset = start
        let end = min(start + step, data.count)
        do {
          while offset < end {
            let bytes = try file.bytes(end - offset, at: offset)
            try #require(!bytes.isEmpty, "the file seems to end at \(offset)")
            expectSame(bytes, data[offset..<offset + bytes.count], "the bytes at \(offset)")
            offset += bytes.count
          }
        } catch let error as Errno {
          #expect(error == .ioError)
          failures += 1
        }
      }
      return failures
    }

    @Test(
      "Once the source has changed reads fail with EIO, never short and never with other bytes; the log says so once",
      arguments: Change.allCases)
    func changes(change: Change) async throws {
      let status = try await withForegroundMount(source, unchanged) { mount in
        let file = try OpenFile(mount.file("w"))
        let start = try file.bytes(4096, at: 0)
        expectSame(start, Self.tensor.data.prefix(4096), "the beginning")
        let before = try mount.log
        #expect(before.isEmpty)
        try apply(change)

        // Only cached pages may still be readable. The kernel's read-ahead is the smaller part of the file.
        #expect(try failingReads(of: file) > 20)
        let direct = try OpenFile(mount.file("w"), OpenFile.direct)
        for offset in [0, 4096, 1 << 20] {
          #expect(throws: Errno.ioError) { try direct.alignedBytes(4096, at: offset) }
        }
        let log = try mount.log
        #expect(log.count == 1 && log[0].contains("m.safetensors' has changed"), "\(log)")

        // The other shards stay readable.
        expectSame(try OpenFile(mount.file("other")).bytes(), Self.other.data, "another source")
        let document = try OpenFile(mount.file("metadata.json")).bytes()
        #expect(document.last == UInt8(ascii: "\n"))
        let size = try Stat(mount.file("w")).size
        #expect(size == Int64(Self.tensor.data.count))
        try await Command.output(of: "umount", "\(mount.path)", "-l")
      }
      #expect(status == 0)
    }

    @Test("A change that is undone is still a change")
    func undone() async throws {
      let status = try await withForegroundMount(source) { mount in
        try apply(.truncatedInTheMiddle)
        #expect(throws: Errno.ioError) { try OpenFile(mount.file("w")).bytes(1, at: 0) }
        try files.write("m.safetensors", Self.sourceBytes)
        #expect(throws: Errno.ioError) { try OpenFile(mount.file("w")).bytes(1, at: 0) }
        let log = try mount.log
        #expect(log.count == 1)
        try await Command.output(of: "umount", "\(mount.path)")
      }
      #expect(status == 0)
    }

    enum Harmless: String, CaseIterable, Sendable {
      case deleted, renamed, replacedByAnother, linked, chmodded, chowned
    }

    @Test(
      "A source that is deleted, renamed, replaced or has other permissions still gives the correct bytes",
      arguments: Harmless.allCases)
    func harmless(change: Harmless) async throws {
      let status = try await withForegroundMount(source) { mount in
        let file = try OpenFile(mount.file("w"))
        let elsewhere = files.path.appending("elsewhere")
        let result =
          switch change {
          case .deleted: unsafe unlink("\(source)")
          case .renamed: unsafe rename("\(source)", "\(elsewhere)")
          case .replacedByAnother: unsafe rename("\(unchanged)", "\(source)")
          case .linked: unsafe link("\(source)", "\(elsewhere)")
          case .chmodded: unsafe chmod("\(source)", 0o600)
          case .chowned: unsafe chown("\(source)", 1, 1)
          }
        try #require(result == 0)
        expectSame(try file.bytes(), Self.tensor.data, "\(change): the open file")
        expectSame(try OpenFile(mount.file("w")).bytes(), Self.tensor.data, "\(change): opened anew")
        let log = try mount.log
        #expect(log.isEmpty, "\(log)")
        try await Command.output(of: "umount", "\(mount.path)", "-l")
      }
      #expect(status == 0)
    }
  }
}
