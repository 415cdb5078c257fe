import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Acts that leave a source's contents alone, and rewritings that hide behind them, through every way to read.
  @Suite struct HarmlessActTests {
    private static let count = 300_001
    private static let bytes = TensorData.bytes("F32", [count / 4], seed: 3) + [1]

    private let files: TemporaryDirectory

    init() throws { files = try TemporaryDirectory() }

    /// A shard whose one tensor has a name that no other has.
    private func shard(_ name: String) throws -> FilePath {
      try files.write(
        "\(name).safetensors", SafetensorsFile(.init(name, "U8", [Self.count], data: Self.bytes)))
    }

    private func paths(_ name: String) -> [String] {
      [name, ".npy/\(name).npy", ".safetensors/\(name).safetensors"]
    }

    /// Reads that no cache answers: O_DIRECT at the beginning, and most of the file.
    private func expectRight(_ mount: ForegroundMount, _ name: String, _ what: String) async throws {
      for path in paths(name) {
        let file = try OpenFile(mount.file(path), OpenFile.direct)
        let end = try file.alignedBytes(1 << 18, at: 1 << 17)
        expectSame(end, Self.bytes.suffix(end.count), "\(what), \(path)")
        #expect(end.count > 100_000)
      }
      let mapped = try await MappedReader.bytes(of: mount.file(name))
      #expect(mapped == Self.bytes, "\(what), mapped")
    }

    private func expectGone(_ mount: ForegroundMount, _ name: String, _ what: String) async throws {
      for path in paths(name) {
        #expect(throws: Errno.ioError, "\(what), \(path)") {
          try OpenFile(mount.file(path), OpenFile.direct).alignedBytes(4096, at: 4096)
        }
        let isDropped = try await eventually { (try? OpenFile(mount.file(path)).bytes(1, at: 0)) == nil }
        #expect(isDropped, "\(what), \(path): what was read before is still there")
      }
    }

    @Test(
      "No act that leaves a source's contents alone makes a read fail, and the log has no line",
      arguments: ["auto", "mmap", "copy"])
    func harmless(io: String) async throws {
      let acts = HarmlessAct.allCases
      let shards = try acts.map { try shard("\($0)") }
      let status = try await withForegroundMount(shards, options: ["-o", "io=\(io)"]) { mount in
        for act in acts { try await expectRight(mount, "\(act)", "before \(act)") }
        for (act, shard) in zip(acts, shards) { try act.apply(to: shard) }
        for act in acts { try await expectRight(mount, "\(act)", "after \(act)") }
        #expect(try mount.log.isEmpty)
        mount.send(SIGTERM)
      }
      #expect(status == 0)
    }

    @Test(
      "No rewriting hides behind another act: reads fail with EIO, and the log has one line for each source")
    func rewritten() async throws {
      let cases = Rewriting.allCases.flatMap { rewriting in
        HarmlessAct.allCases.filter { $0 != .renamed && (rewriting != .mapped || !$0.isSeenByStatus) }
          .map { (name: "\(rewriting)-\($0)", rewriting: rewriting, act: $0) }
      }
      let shards = try cases.map { try shard($0.name) }
      let status = try await withForegroundMount(shards) { mount in
        for one in cases { #expect(try OpenFile(mount.file(one.name)).bytes(1, at: 0) == [Self.bytes[0]]) }
        for (one, shard) in zip(cases, shards) {
          try one.rewriting.apply(to: shard, last: 10)
          try one.act.apply(to: shard)
        }
        for one in cases { try await expectGone(mount, one.name, one.name) }
        let log = try mount.log
        #expect(log.count == cases.count && log.allSatisfy { $0.contains("has changed since") }, "\(log)")
        mount.send(SIGTERM)
      }
      #expect(status == 0)
    }

    @Test("Where a user has no inotify instance left, one line says which rule holds, and it does")
    func noInstance() async throws {
      let space = try PrivateNamespace(model: SafetensorsFile(.init("w", "U8", [300_000])))
      let output = try await space.run(
        """
        unshare --user --map-root-user --mount sh -euc '
          echo 0 >/proc/sys/user/max_inotify_instances
          "$1" -f "$2" "$3" 2>"$4/log" &
          until findmnt --mountpoint "$3" >/dev/null; do sleep 0.01; done
          chmod 600 "$2"; ln "$2" "$2.link"
          dd if="$3/w" iflag=direct bs=64k status=none | cmp - "$4/w" && echo explained
          chmod 600 "$2"
          dd if="$3/w" iflag=direct bs=64k status=none 2>/dev/null | cmp -s - "$4/w" || echo unexplained
          umount "$3"; wait
        ' sh "$stmount" "$model" "$mnt" "$directory"
        grep -o 'cannot watch\\|max_user_instances\\|unless its mode, owner, links or path do too\\|has changed since' \\
          "$directory/log"
        """)
      #expect(
        output == """
          explained
          unexplained
          cannot watch
          max_user_instances
          unless its mode, owner, links or path do too
          has changed since
          """, "\(output)")
    }

    @Test(
      "Where a file system keeps whole seconds, a rewriting in the same second is found, if its times stay or not"
    )
    func wholeSeconds() async throws {
      let image = try files.write("image", text: "")
      let file = try FileDescriptor.open(image, .readWrite, options: .closeOnExec)
      try file.closeAfter { try file.resize(to: 8 << 20) }
      try await Command.output(of: "mkfs.ext4", "-q", "-F", "-I", "128", "\(image)")
      let disk = try files.makeDirectory("disk")
      try await Command.output(of: "mount", "-o", "loop", "\(image)", "\(disk)")
      defer { _ = unsafe umount2("\(disk)", Int32(MNT_DETACH)) }
      let shards = try (0..<20).map { try shard("disk/s\($0)") }
      var unseen = 0
      let status = try await withForegroundMount(shards) { mount in
        for (number, shard) in shards.enumerated() {
          let path = mount.file("disk/s\(number)")
          try HarmlessAct.otherMode.apply(to: shard)
          _ = try OpenFile(path, OpenFile.direct).alignedBytes(4096, at: 0)
          let before = try Stat(shard)
          try Rewriting.inPlace.apply(to: shard, last: 10)
          let after = try Stat(shard)
          #expect(after.st_mtim.tv_nsec == 0 && after.st_mtim.tv_sec == before.st_mtim.tv_sec)
          if after.st_ctim.tv_sec == before.st_ctim.tv_sec { unseen += 1 }
          #expect(throws: Errno.ioError, "\(number)") {
            try OpenFile(path, OpenFile.direct).alignedBytes(4096, at: 0)
          }
        }
        mount.send(SIGTERM)
      }
      #expect(status == 0)
      #expect(unseen > 0, "every rewriting came in another second than the act before it")
    }
  }
}
