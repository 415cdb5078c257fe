import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Every kind of change of a source, with every way of reading it.
  @Suite struct ChangeMatrixTests {
    private static let count = 300_001
    private let files: TemporaryDirectory
    private let shards: [ChangedShard]

    init() throws {
      let directory = try TemporaryDirectory()
      let whole = SafetensorsFile(.init("w0", "U8", [Self.count])).bytes.count
      let header = whole - Self.count
      let lengths = [
        0, 1, 7, 8, 9, header - 1, header, header + 1, 4095, 4096, 4097, 65_536, 131_071, 131_072, whole / 2,
        whole & ~4095, whole - 4096, whole - 1,
      ]
      let changes =
        lengths.map { ChangedShard.Change.truncated(to: $0) }
        + [.extended(by: 1), .extended(by: 1 << 20), .rewritten(from: 0), .rewritten(from: Self.count - 1)]
        + [.replaced, .renamed, .deleted]
      files = directory
      shards = try changes.enumerated().map {
        try ChangedShard($0.offset, count: Self.count, $0.element, in: directory)
      }
    }

    /// One file of each kind that shows the shard's tensor. The float32 view does not have the tensor.
    private func paths(_ shard: ChangedShard) -> [String] {
      [shard.name, ".npy/\(shard.name).npy", ".safetensors/\(shard.name).safetensors"]
    }

    @Test(
      "A changed source gives correct bytes before the change, then EIO by every way of reading, and one line in the log; a renamed or deleted one, and other sources, stay readable"
    )
    func everyChange() async throws {
      let kept = try files.write("kept.safetensors", SafetensorsFile(.init("kept", "U8", [100_000])))
      let sources = shards.map(\.path) + [kept]
      let status = try await withForegroundMount(sources) { mount in
        var before: [[UInt8]] = []
        for shard in shards {
          for path in paths(shard) { before.append(try OpenFile(mount.file(path), OpenFile.direct).all()) }
          expectSame(
            try OpenFile(mount.file(shard.name)).bytes(1 << 12, at: 0), shard.tensor.data.prefix(1 << 12),
            shard.name)
        }
        #expect(try mount.log.isEmpty)
        for shard in shards { try shard.apply() }

        var expected = before.makeIterator()
        for shard in shards {
          for path in paths(shard) {
            let next = expected.next()
            let right = try #require(next)
            if shard.change.isHarmless {
              try expectRight(mount.file(path), right, "\(path), \(shard.change)")
            } else {
              try await expectGone(mount.file(path), right, "\(path), \(shard.change)")
            }
          }
          #expect(try Stat(mount.file(shard.name)).size == Int64(Self.count), "\(shard.change)")
        }
        expectSame(
          try OpenFile(mount.file("kept")).bytes(), SafetensorsFile.Tensor("kept", "U8", [100_000]).data,
          "kept")
        #expect(try OpenFile(mount.file("metadata.json")).bytes().last == UInt8(ascii: "\n"))
        let log = try mount.log
        let changed = shards.filter { !$0.change.isHarmless }
        #expect(log.count == changed.count, "\(log)")
        for shard in changed {
          #expect(
            log.filter { $0.contains("/\(shard.name).safetensors' has changed") }.count == 1,
            "\(shard.change)")
        }
        try await Command.output(of: "umount", "-l", "\(mount.path)")
      }
      #expect(status == 0)
    }

    private func expectRight(_ path: FilePath, _ bytes: [UInt8], _ what: String) throws {
      let file = try OpenFile(path)
      expectSame(try file.bytes(), bytes, "\(what): read")
      expectSame(try file.sent(bytes.count, from: 0), bytes, "\(what): sendfile")
      expectSame(try OpenFile(path, OpenFile.direct).all(), bytes, "\(what): O_DIRECT")
      let mapped = try file.mapped(bytes.count, MAP_SHARED)
      expectSame(mapped, bytes, "\(what): mmap")
    }

    /// O_DIRECT alone bypasses the page cache. The first of these reads detects the change, and stmount drops the cached pages.
    private func expectGone(_ path: FilePath, _ bytes: [UInt8], _ what: String) async throws {
      let direct = try OpenFile(path, OpenFile.direct)
      for offset in [0, 4096, bytes.count & ~4095] {
        #expect(throws: Errno.ioError, "\(what): O_DIRECT at \(offset)") {
          try direct.alignedBytes(4096, at: offset)
        }
      }
      let file = try OpenFile(path)
      let isDropped = try await eventually { (try? file.bytes(1, at: 0)) == nil }
      #expect(isDropped, "\(what): what was read before is still there")
      for offset in [0, 4096, bytes.count / 2, bytes.count - 1] {
        #expect(throws: Errno.ioError, "\(what): read at \(offset)") { try file.bytes(1000, at: offset) }
        #expect(throws: Errno.ioError, "\(what): sendfile from \(offset)") {
          try file.sent(1000, from: offset)
        }
      }
      // Each mapping needs a process of its own, which is slow. FailingStorageTests maps the views.
      if path.string.contains("/.") { return }
      let mapped = try await MappedReader.bytes(of: path)
      #expect(mapped == nil, "\(what): a mapping still shows something")
    }
  }
}

extension OpenFile {
  /// The whole file, in reads with the alignment that O_DIRECT requires.
  fileprivate func all() throws -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let piece = try alignedBytes(1 << 17, at: bytes.count)
      bytes += piece
      if piece.count < 1 << 17 { return bytes }
    }
  }
}
