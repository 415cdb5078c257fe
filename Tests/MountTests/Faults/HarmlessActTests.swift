import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Acts that do not change a source's contents, and rewrites that hide behind such acts, with every way of reading.
  @Suite struct HarmlessActTests {
    private static let count = 300_001
    private static let bytes = TensorData.bytes("F32", [count / 4], seed: 3) + [1]

    private let files: TemporaryDirectory
    private let reference: FilePath

    init() throws {
      files = try TemporaryDirectory()
      reference = try files.write("reference", Self.bytes)
    }

    /// The file systems of the sources.
    enum Place: String { case disk, overlay }

    /// One source with one tensor, whose name is unique, and the act.
    private struct Cell {
      let rewriting: Rewriting?
      let act: HarmlessAct
      var name: String { "\(rewriting.map { "\($0)-" } ?? "")\(act)" }
      /// One file of each kind that shows the tensor.
      var paths: [String] { [name, ".npy/\(name).npy", ".safetensors/\(name).safetensors"] }
    }

    /// Every harmless act by itself.
    private static let acts = HarmlessAct.allCases.map { Cell(rewriting: nil, act: $0) }
    /// Every rewrite combined with every act that it can hide behind.
    private static let rewritings = Rewriting.allCases.flatMap { rewriting in
      HarmlessAct.allCases.filter { $0 != .renamed }.map { Cell(rewriting: rewriting, act: $0) }
    }

    private func shard(_ name: String, in directory: String = ".") throws -> FilePath {
      try files.write(
        "\(directory)/\(name).safetensors", SafetensorsFile(.init(name, "U8", [Self.count], data: Self.bytes))
      )
    }

    /// Calls `body` with the source of each cell in a directory, before it is mounted.
    private func withSources(
      of cells: [Cell], at place: Place, _ body: ([FilePath]) async throws -> Void
    ) async throws {
      guard place == .overlay else { return try await body(cells.map { try shard($0.name) }) }
      // The layers of overlayfs need a file system that supports them, which that of the test's files may not.
      let layers = try files.makeDirectory("layers")
      try await Command.output(of: "mount", "-t", "tmpfs", "tmpfs", "\(layers)")
      defer { _ = unsafe umount2("\(layers)", Int32(MNT_DETACH)) }
      let names = ["lower", "upper", "work", "merged"]
      let (lower, upper, work) = ("\(layers)/lower", "\(layers)/upper", "\(layers)/work")
      for name in names { try files.makeDirectory("layers/\(name)") }
      for cell in cells { _ = try shard(cell.name, in: "layers/lower") }
      let merged = layers.appending("merged")
      try await Command.output(
        of: "mount", "-t", "overlay", "overlay", "-o", "lowerdir=\(lower),upperdir=\(upper),workdir=\(work)",
        "\(merged)")
      defer { _ = unsafe umount2("\(merged)", Int32(MNT_DETACH)) }
      try await body(cells.map { merged.appending("\($0.name).safetensors") })
    }

    /// Reads without the page cache, and mappings. Expects correct bytes, except for the last `changed` bytes.
    private func expectRight(
      _ mount: ForegroundMount, _ cells: [Cell], exceptLast changed: Int = 0, _ when: String
    ) async throws {
      for cell in cells {
        for path in cell.paths {
          let file = try OpenFile(mount.file(path), OpenFile.direct)
          let end = try file.alignedBytes(1 << 18, at: 1 << 17)
          #expect(end.count > 100_000)
          expectSame(
            Array(end.dropLast(changed)), Self.bytes.suffix(end.count).dropLast(changed), "\(when), \(path)")
        }
      }
      let paths = cells.flatMap(\.paths)
      let mapped = try await MappedReader.compare(paths.map(mount.file), with: reference)
      for (path, finding) in zip(paths, mapped) {
        #expect(
          finding == "same" || changed > 0 && finding == "other", "\(when), \(path), mapped: \(finding)")
      }
    }

    private func expectGone(_ mount: ForegroundMount, _ cells: [Cell]) async throws {
      let paths = cells.flatMap(\.paths)
      for path in paths {
        #expect(throws: Errno.ioError, "\(path)") {
          try OpenFile(mount.file(path), OpenFile.direct).alignedBytes(4096, at: 4096)
        }
        let isDropped = try await eventually { (try? OpenFile(mount.file(path)).bytes(1, at: 0)) == nil }
        #expect(isDropped, "\(path): what was read before is still there")
      }
      let mapped = try await MappedReader.compare(paths.map(mount.file), with: reference)
      for (path, finding) in zip(paths, mapped) { #expect(finding == "gone", "\(path), mapped: \(finding)") }
    }

    @Test(
      "No act that leaves a source's contents alone makes a read fail, and the log has no line",
      arguments: [("auto", .disk), ("mmap", .disk), ("copy", .disk), ("auto", .overlay)] as [(String, Place)])
    func harmless(io: String, place: Place) async throws {
      // docs/SEMANTICS.md documents this limit on overlayfs.
      let acts = Self.acts.filter { place != .overlay || $0.act != .touched }
      try await withSources(of: acts, at: place) { sources in
        let status = try await withForegroundMount(sources, options: ["-o", "io=\(io)"]) { mount in
          try await expectRight(mount, acts, "before")
          for (cell, source) in zip(acts, sources) { try cell.act.apply(to: source) }
          try await expectRight(mount, acts, "after")
          #expect(try mount.log.isEmpty)
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }

    @Test(
      "No rewriting hides behind another act: reads fail with EIO, mappings with SIGBUS, and the log has one line for each source",
      arguments: [.disk, .overlay] as [Place])
    func rewritten(place: Place) async throws {
      let cells = Self.rewritings.filter { $0.rewriting?.isReported != false || !$0.act.isSeenByStatus }
      try await withSources(of: cells, at: place) { sources in
        let status = try await withForegroundMount(sources) { mount in
          for cell in cells {
            #expect(try OpenFile(mount.file(cell.name)).bytes(1, at: 0) == [Self.bytes[0]])
          }
          for (cell, source) in zip(cells, sources) {
            try cell.rewriting?.apply(to: source, last: 10)
            try cell.act.apply(to: source)
          }
          try await expectGone(mount, cells)
          let log = try mount.log
          #expect(log.count == cells.count && log.allSatisfy { $0.contains("has changed since") }, "\(log)")
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }

    @Test(
      "Without inotify every act and every rewriting, alone and together, is a change unless stat shows an act that explains it"
    )
    func unwatched() async throws {
      let cells = Self.acts + Self.rewritings
      let gone = cells.filter {
        !$0.act.isSeenByStatus && ($0.rewriting != nil || $0.act.setsChangeTime)
      }
      let shown = cells.filter { cell in !gone.contains { $0.name == cell.name } }
      try await withSources(of: cells, at: .disk) { sources in
        let status = try await withForegroundMount(sources, hasInotify: false) { mount in
          try await expectRight(mount, Self.acts, "before")
          for (cell, source) in zip(cells, sources) {
            try cell.rewriting?.apply(to: source, last: 10)
            try cell.act.apply(to: source)
          }
          try await expectRight(mount, shown.filter { $0.rewriting == nil }, "after")
          // docs/SEMANTICS.md documents this limit of the rule.
          try await expectRight(mount, shown.filter { $0.rewriting != nil }, exceptLast: 10, "after")
          try await expectGone(mount, gone)
          let log = try mount.log
          #expect(log.first?.contains("max_user_instances") == true, "\(log)")
          #expect(log.count { $0.contains("has changed since") } == gone.count, "\(log)")
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }

    @Test("If a user has no inotify instance left, one line says which rule applies, and that rule applies")
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
        grep -o 'cannot watch\\|max_user_instances\\|unless mode, owner, link count or path changed too\\|has changed since' \\
          "$directory/log"
        """)
      #expect(
        output == """
          explained
          unexplained
          cannot watch
          max_user_instances
          unless mode, owner, link count or path changed too
          has changed since
          """, "\(output)")
    }

    @Test(
      "On a file system with whole seconds, a rewrite in the same second is detected, whether its times stay or not"
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
