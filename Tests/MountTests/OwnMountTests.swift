import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// A daemon unmounts only its own mount, whatever other mounts exist.
  @Suite struct OwnMountTests {
    private static let tensor = SafetensorsFile.Tensor("w", "U8", [3_000_001])
    private static let inner = SafetensorsFile.Tensor("a/b", "U8", [1], data: [7])
    private let files: TemporaryDirectory
    private let source: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", SafetensorsFile(Self.tensor, Self.inner))
    }

    private func mount(_ arguments: String...) async throws {
      try await Command.output(of: "mount", arguments: arguments)
    }

    private func unmount(_ path: FilePath) async throws { try await Command.output(of: "umount", "\(path)") }

    /// Sends SIGTERM to a mount's daemon while another mount covers it. Expects `isWhole` to hold until the other mount is gone, and
    /// then the daemon to end.
    private func expectLeft(
      _ mount: ForegroundMount, under upper: FilePath, sourceLocation: SourceLocation = #_sourceLocation,
      _ isWhole: () throws -> Bool
    ) async throws {
      mount.send(SIGTERM)
      let hasSaidSo = try await eventually { try mount.log.contains { $0.contains("cannot unmount") } }
      #expect(hasSaidSo, sourceLocation: sourceLocation)
      #expect(try isWhole(), sourceLocation: sourceLocation)
      try await unmount(upper)
    }

    @Test("TERM leaves alone a tmpfs on the mount, logs it, and ends the daemon once the tmpfs is gone")
    func tmpfsAbove() async throws {
      let status = try await withForegroundMount(source) { mount in
        try await self.mount("-t", "tmpfs", "tmpfs", "\(mount.path)")
        let file = mount.file("precious")
        try FileDescriptor.open(file, .writeOnly, options: .create, permissions: .ownerReadWrite).close()
        try await expectLeft(mount, under: mount.path) { try Stat(file).type == .regular }
      }
      #expect(status == 0)
    }

    @Test("--idle-timeout leaves alone a tmpfs on the mount")
    func idle() async throws {
      let options = ["--idle-timeout", "2"]
      let status = try await withForegroundMount(source, options: options) { mount in
        try await self.mount("-t", "tmpfs", "tmpfs", "\(mount.path)")
        let file = mount.file("precious")
        try FileDescriptor.open(file, .writeOnly, options: .create, permissions: .ownerReadWrite).close()
        // Once a later mount has ended, this one has had the time to end too, even on a busy machine.
        let other = try await withForegroundMount(source, options: options) { other in
          let hasEnded = try await eventually { !other.isRunning }
          #expect(hasEnded)
        }
        #expect(other == 0)
        #expect(try Stat(file).type == .regular)
        try await unmount(mount.path)
      }
      #expect(status == 0)
    }

    @Test("TERM leaves alone an overlay on the mount, and files stay readable through it")
    func overlayAbove() async throws {
      let upper = try files.makeDirectory("upper")
      let work = try files.makeDirectory("work")
      let status = try await withForegroundMount(source) { mount in
        try await self.mount(
          "-t", "overlay", "overlay", "-o", "lowerdir=\(mount.path),upperdir=\(upper),workdir=\(work)",
          "\(mount.path)")
        try await expectLeft(mount, under: mount.path) {
          expectSame(try OpenFile(mount.file("w")).bytes(), Self.tensor.data, "w through the overlay")
          return true
        }
      }
      #expect(status == 0)
    }

    @Test("TERM leaves alone another stmount on the mount")
    func stmountAbove() async throws {
      let other = try files.write("o.safetensors", SafetensorsFile(.init("o", "U8", [1], data: [9])))
      try await withMount(other) { upper in
        let status = try await withForegroundMount(source) { lower in
          try await self.mount("--bind", "\(upper.path)", "\(lower.path)")
          try await expectLeft(lower, under: lower.path) {
            try OpenFile(lower.file("o")).bytes() == [9] && upper.bytes("o") == [9]
          }
        }
        #expect(status == 0)
        #expect(try upper.bytes("o") == [9])
      }
    }

    @Test("TERM leaves alone a mount on a directory of the mount")
    func inside() async throws {
      let status = try await withForegroundMount(source) { mount in
        let inner = mount.file("a")
        try await self.mount("-t", "tmpfs", "tmpfs", "\(inner)")
        try await expectLeft(mount, under: inner) { try MountInfo.all(at: inner).count == 1 }
      }
      #expect(status == 0)
    }

    @Test("TERM leaves alone a mount at the same path in a file system that covers the directory above")
    func directoryAbove() async throws {
      let status = try await withForegroundMount(source, options: ["--log-level", "notice"]) { mount in
        let above = mount.path.removingLastComponent()
        try await self.mount("-t", "tmpfs", "tmpfs", "\(above)")
        try #require(unsafe mkdir("\(mount.path)", 0o755) == 0)
        try await self.mount("-t", "tmpfs", "tmpfs", "\(mount.path)")
        mount.send(SIGTERM)
        try await mount.answersSignals()
        #expect(try MountInfo.all(at: mount.path).map(\.type) == ["fuse.stmount", "tmpfs"])
        try await unmount(mount.path)
        try await unmount(above)
      }
      #expect(status == 0)
    }

    @Test("Of two commands that start at once on one mount point one mounts, and the other fails with 73")
    func doubleStart() async throws {
      let mountPoint = try files.makeDirectory("mnt")
      defer { while unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) == 0 {} }
      let arguments = ["\(source)", "\(mountPoint)"]
      for round in 0..<40 {
        async let first = Command.stmount(arguments)
        async let second = Command.stmount(arguments)
        let outcomes = try await [first, second]
        let said = "round \(round): \(outcomes.map(\.error))"
        try #require(outcomes.map(\.status).sorted() == [0, EX_CANTCREAT], "\(said)")
        try #require(outcomes.contains { $0.error.contains("already has a mount") }, "\(said)")
        try #require(try MountInfo.all(at: mountPoint).count == 1, "\(said)")
        #expect(try OpenFile(mountPoint.appending("a/b")).bytes() == [7], "\(said)")
        try #require(try Daemon(servingAt: mountPoint)).send(SIGTERM)
        let isClear = try await eventually {
          try MountInfo.all(at: mountPoint).isEmpty && Daemon(servingAt: mountPoint) == nil
        }
        try #require(isClear, "\(said)")
      }
    }

    @Test("A mount that was moved is unmounted at its new place, and a mount at its old place stays")
    func moved() async throws {
      // A mount below a shared mount cannot be moved, so this uses one that is not shared.
      let outer = try files.makeDirectory("outer")
      try await mount("-t", "tmpfs", "tmpfs", "\(outer)")
      defer { _ = unsafe umount2("\(outer)", Int32(MNT_DETACH)) }
      try await mount("--make-private", "\(outer)")
      let from = try files.makeDirectory("outer/from")
      let target = try files.makeDirectory("outer/to")
      #expect(try await Command.stmount(["\(source)", "\(from)"]).status == 0)
      let daemon = try #require(try Daemon(servingAt: from))
      try await mount("--move", "\(from)", "\(target)")
      try await mount("-t", "tmpfs", "tmpfs", "\(from)")
      expectSame(try OpenFile(target.appending("w")).bytes(), Self.tensor.data, "w")
      daemon.send(SIGTERM)
      #expect(try await eventually { !daemon.isRunning })
      #expect(try MountInfo.all(at: target).isEmpty)
      #expect(try MountInfo.all(at: from).map(\.type) == ["tmpfs"])
    }

    @Test(
      "TERM frees the mount point; a bind mount of it elsewhere stays readable, and ends the daemon when it goes"
    )
    func bindElsewhere() async throws {
      let elsewhere = try files.makeDirectory("elsewhere")
      defer { _ = unsafe umount2("\(elsewhere)", Int32(MNT_DETACH)) }
      let status = try await withForegroundMount(source) { mount in
        try await self.mount("--bind", "\(mount.path)", "\(elsewhere)")
        mount.send(SIGTERM)
        #expect(try await eventually { try !mount.isMounted })
        expectSame(try OpenFile(elsewhere.appending("w")).bytes(), Self.tensor.data, "w")
        #expect(try MountInfo.all(at: elsewhere).count == 1)
        try await unmount(elsewhere)
      }
      #expect(status == 0)
    }

    @Test("A daemon whose mount was unmounted leaves alone bind mounts of it, whatever their number")
    func bindWithOldNumber() async throws {
      let places = try (0..<3).map { try files.makeDirectory("place\($0)") }
      defer { for place in places { _ = unsafe umount2("\(place)", Int32(MNT_DETACH)) } }
      let status = try await withForegroundMount(source, options: ["--log-level", "notice"]) { mount in
        try await self.mount("--bind", "\(mount.path)", "\(places[0])")
        try await unmount(mount.path)
        // The kernel assigns the lowest free number.
        for place in places.dropFirst() { try await self.mount("--bind", "\(places[0])", "\(place)") }
        mount.send(SIGTERM)
        try await mount.answersSignals()
        mount.send(SIGTERM)
        try await mount.answersSignals()
        for place in places {
          #expect(try MountInfo.all(at: place).count == 1)
          #expect(try OpenFile(place.appending("a/b")).bytes() == [7])
          try await unmount(place)
        }
      }
      #expect(status == 0)
    }

    @Test("TERM frees the mount point; a copy in another mount namespace, and mounts on it, stay")
    func otherNamespace() async throws {
      let status = try await withForegroundMount(source) { mount in
        let script = """
          mount --make-rprivate /
          exec 3<"$1"
          mount -t tmpfs tmpfs "$1/a"
          echo precious >"$1/a/file"
          kill -TERM "$2"
          for _ in $(seq 6000); do nsenter --mount=/proc/$PPID/ns/mnt findmnt --mountpoint "$1" >/dev/null || break; sleep 0.01; done
          nsenter --mount=/proc/$PPID/ns/mnt findmnt --mountpoint "$1" >/dev/null || echo free
          cat "$1/a/file"
          cmp "$1/w" "$3" && echo same
          """
        let reference = try files.write("w", Self.tensor.data)
        let outcome = try await Command.run(
          "sh",
          [
            "-c", #"unshare --mount --propagation unchanged -- sh -c "$@""#, "sh", script, "sh",
            "\(mount.path)",
            "\(mount.daemon)", "\(reference)",
          ])
        #expect(outcome.text == "free\nprecious\nsame", "\(outcome.text) \(outcome.error)")
      }
      #expect(status == 0)
    }

    @Test("A user's daemon leaves alone root's mount on its own, and ends once that is gone")
    func user() async throws {
      let space = try PrivateNamespace(model: SafetensorsFile(Self.tensor, Self.inner))
      let output = try await space.run(
        """
        as_nobody "$stmount" "$model" "$mnt"
        pid=$(daemon)
        mount -t tmpfs tmpfs "$mnt"
        echo precious >"$mnt/file"
        for _ in 1 2; do
          kill -TERM "$pid"
          while grep -q '^ShdPnd:.*[1-9a-f]' "/proc/$pid/status"; do sleep 0.01; done; sleep 0.2
        done
        cat "$mnt/file"
        umount "$mnt"
        ends "$pid"
        findmnt --mountpoint "$mnt" || echo gone
        """)
      #expect(output == "precious\ngone")
    }

    @Test(
      "Of two commands that a user starts at once on one mount point one mounts, and the other fails with 73")
    func userDoubleStart() async throws {
      let space = try PrivateNamespace(model: SafetensorsFile(Self.tensor, Self.inner))
      let output = try await space.run(
        """
        for round in $(seq 20); do
          as_nobody "$stmount" "$model" "$mnt" 2>/dev/null & first=$!
          second=0; as_nobody "$stmount" "$model" "$mnt" 2>/dev/null || second=$?
          status=0; wait $first || status=$?
          case $status,$second in 0,73|73,0) ;; *) echo "round $round: $status and $second";; esac
          [ "$(findmnt -n -o TARGET "$mnt" | wc -l)" = 1 ] || echo "round $round: $(findmnt "$mnt")"
          pid=$(daemon); kill -TERM "$pid"; ends "$pid"
          findmnt --mountpoint "$mnt" || :
        done
        """)
      #expect(output.isEmpty, "\(output)")
    }
  }
}
