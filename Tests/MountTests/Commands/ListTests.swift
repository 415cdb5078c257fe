import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// `stmount --list` and `stmount -u`.
  @Suite struct ListTests {
    private let files: TemporaryDirectory
    private let source: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", SafetensorsFile(.init("w", "U8", [10])))
    }

    /// What `--list` prints about a mount point: source, mount point, process ID, state.
    private func fields(of mount: FilePath) async throws -> [Substring] {
      let outcome = try await Command.stmount(["--list"])
      #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
      let lines = outcome.text.split(separator: "\n").map { $0.split(separator: " ") }
      return lines.first { $0.count == 4 && $0[1] == "\(mount)" } ?? []
    }

    @Test("--list shows source, mount point, daemon and state, whatever the mount's subtype")
    func alive() async throws {
      for options in [[], ["-o", "subtype=other"]] {
        try await withMount(source, options: options) { mount in
          let found = try await fields(of: mount.path)
          #expect(found == ["\(source)", "\(mount.path)", "\(mount.daemon.id)", "alive"])
          #expect(try await Command.stmount(["-u", "\(mount.path)"]).status == 0)
          #expect(try await fields(of: mount.path).isEmpty)
        }
      }
    }

    @Test("A mount whose daemon was killed is dead, and -u unmounts it")
    func dead() async throws {
      try await withMount(source) { mount in
        mount.daemon.send(SIGKILL)
        #expect(try await eventually { !mount.daemon.isRunning })
        #expect(try await fields(of: mount.path) == ["\(source)", "\(mount.path)", "-", "dead"])
        let outcome = try await Command.stmount(["--unmount", "\(mount.path)"])
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        #expect(try MountInfo.all(at: mount.path).isEmpty)
      }
    }

    @Test("A mount that does not answer does not delay --list or -u")
    func hanging() async throws {
      try await withMount(source) { mount in
        mount.daemon.send(SIGSTOP)
        defer { mount.daemon.send(SIGCONT) }
        let found = try await fields(of: mount.path)
        #expect(found == ["\(source)", "\(mount.path)", "\(mount.daemon.id)", "hanging"])
        #expect(try await Command.stmount(["-u", "\(mount.path)"]).status == 0)
        #expect(try MountInfo.all(at: mount.path).isEmpty)
      }
    }

    @Test(
      "-u refuses a mount in use, covered or of another user, and a path without a mount, with the reason")
    func refusals() async throws {
      func refusal(_ path: FilePath, _ status: Int32, _ words: String) async throws {
        let outcome = try await Command.stmount(["-u", "\(path)"])
        #expect(outcome.status == status && outcome.errorLines.count == 1, "\(outcome.error)")
        #expect(outcome.error.contains(words), "\(outcome.error)")
      }
      try await refusal(files.path, 66, "nothing is mounted there")
      try await refusal(files.path.appending("none"), 66, "nothing is mounted there")
      try await refusal("/proc", 64, "this is a mount of type proc, not of stmount")
      try await withMount(source) { mount in
        let file = try OpenFile(mount.file("w"))
        try await refusal(mount.path, 75, "it is in use")
        #expect(try file.bytes().count == 10)
        // The mount point is given by another path, and then relative to the working directory.
        let link = files.path.appending("link")
        #expect(unsafe symlink("\(mount.path)", "\(link)") == 0)
        try await refusal(link, 75, "it is in use")
      }
      try await withMount(source) { mount in
        try await Command.output(
          of: "mount", "--bind", "\(files.path)", "\(mount.file("w").removingLastComponent())")
        try await refusal(mount.path, 64, "not of stmount")
        try await Command.output(of: "umount", "\(mount.path)")
      }
      for arguments in [
        ["--list", "-u", "x"], ["--list", "x"], ["--doctor", "x"], ["--doctor", "--list"], ["-u", ""],
      ] {
        #expect(try await Command.stmount(arguments).status == 64, "\(arguments)")
      }
    }

    @Test("-u takes several mount points, and unmounts those that it can, whatever the others are")
    func several() async throws {
      let places = try ["one", "two"].map { try files.makeDirectory($0) }
      for place in places { #expect(try await Command.stmount(["\(source)", "\(place)"]).status == 0) }
      let outcome = try await Command.stmount(["-u", "/", "\(places[0])", "\(files.path)", "\(places[1])"])
      #expect(outcome.status == 66 && outcome.errorLines.count == 2, "\(outcome.error)")
      for place in places { #expect(try MountInfo.all(at: place).isEmpty) }
    }

    @Test("After -u, the file system with the source can be unmounted at once")
    func released() async throws {
      let below = try files.makeDirectory("below")
      let place = try files.makeDirectory("place")
      for _ in 0..<8 {
        try #require(unsafe mount("tmpfs", "\(below)", "tmpfs", 0, nil) == 0)
        defer { _ = unsafe umount2("\(below)", Int32(MNT_DETACH)) }
        let model = try files.write("below/m.safetensors", SafetensorsFile(.init("w", "U8", [10])))
        #expect(try await Command.stmount(["\(model)", "\(place)"]).status == 0)
        #expect(try await Command.stmount(["-u", "\(place)"]).status == 0)
        #expect(unsafe umount2("\(below)", 0) == 0, "\(Errno(rawValue: errno))")
      }
    }

    @Test("A user unmounts their own mounts and nobody else's; root sees and unmounts all")
    func users() async throws {
      let space = try PrivateNamespace(model: SafetensorsFile(.init("w", "U8", [10])))
      let output = try await space.run(
        """
        state() { sed -n "s|^$model  $mnt  *||p"; }
        as_nobody "$stmount" "$model" "$mnt"
        pid=$(daemon)
        for who in "" as_nobody; do [ "$($who "$stmount" --list | state)" = "$pid  alive" ] && echo alive; done
        setpriv --reuid 1234 --regid 1234 --clear-groups "$stmount" -u "$mnt" 2>&1 | sed 's/.*: user/user/'
        as_nobody sh -c 'exec 3<"$1/w"; "$2" -u "$1"; echo $?' sh "$mnt" "$stmount" 2>/dev/null
        as_nobody "$stmount" -u "$mnt" && ends $pid
        as_nobody "$stmount" "$model" "$mnt"; pid=$(daemon)
        "$stmount" -u "$mnt" && ends $pid
        chown root "$mnt"; "$stmount" "$model" "$mnt"
        as_nobody "$stmount" -u "$mnt" 2>&1 | sed 's/.*: user/user/'
        "$stmount" -u "$mnt"; "$stmount" --list
        """)
      #expect(
        output == """
          alive
          alive
          user 65534 has mounted it; only that user and root may unmount it
          75
          user 0 has mounted it; only that user and root may unmount it
          """, "\(output)")
    }
  }
}
