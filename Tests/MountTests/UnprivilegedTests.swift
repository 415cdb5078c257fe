import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Unprivileged users. They mount through fusermount3, and read what the source's mode allows.
  @Suite struct UnprivilegedTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300_000]), .init("a/b", "F32", [3]))

    @Test("A user mounts, reads, and unmounts with fusermount3; the daemon ends")
    func userMount() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        as_nobody "$stmount" "$model" "$mnt"
        as_nobody cmp "$mnt/w" "$directory/w"
        as_nobody find "$mnt" -mindepth 1 -printf '%P\\n' | sort
        findmnt -n -o FSTYPE,OPTIONS --mountpoint "$mnt"
        pid=$(daemon)
        grep '^Uid:' "/proc/$pid/status" | cut -f 2-3
        as_nobody fusermount3 -u "$mnt"
        ends "$pid"
        findmnt --mountpoint "$mnt" || echo unmounted
        """)
      let lines = output.split(separator: "\n")
      #expect(lines.prefix(4) == ["a", "a/b", "metadata.json", "w"])
      try #require(lines.count == 7, "\(output)")
      #expect(lines[4].hasPrefix("fuse.stmount ro,nosuid,nodev,noexec") && lines[4].contains("user_id=65534"))
      #expect(lines[5] == "65534\t65534")
      #expect(lines[6] == "unmounted")
    }

    @Test("A signal unmounts a user's mount at once, and ends the daemon when the last file is closed")
    func userSignal() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        as_nobody "$stmount" "$model" "$mnt"
        pid=$(daemon)
        as_nobody sh -c '
          exec 3<"$1/w"
          head -c 4096 <&3
          kill -TERM "$2"
          for _ in $(seq 6000); do [ -e "$1/w" ] || break; sleep 0.01; done
          [ ! -e "$1/w" ] && cat <&3
        ' sh "$mnt" "$pid" >"$directory/read"
        cmp "$directory/read" "$directory/w" && echo same
        ends "$pid"
        """)
      #expect(output == "same")
    }

    @Test("Only the user who mounted can access a mount, not even root, unless allow_other is set")
    func userOnly() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        as_nobody "$stmount" "$model" "$mnt"
        ls "$mnt" 2>&1 || echo denied
        setpriv --reuid 1234 --regid 1234 --clear-groups -- ls "$mnt" 2>/dev/null || echo denied
        """)
      #expect(output.hasSuffix("denied\ndenied") && output.contains("Permission denied"))
    }

    @Test("Without user_allow_other in fuse.conf, allow_other and allow_root are refused with the remedy")
    func allowOtherRefused() async throws {
      let space = try PrivateNamespace(model: Self.model)
      for option in ["allow_other", "allow_root"] {
        let output = try await space.run(
          #"as_nobody "$stmount" -o "$1" "$model" "$mnt" 2>&1 || echo "status $?""#, option)
        let lines = output.split(separator: "\n")
        #expect(lines.count == 2 && lines.last == "status 77", "\(output)")
        #expect(lines.first?.hasPrefix("stmount: ") == true && output.contains("/etc/fuse.conf"))
      }
    }

    @Test("With user_allow_other in fuse.conf, others read what a user mounted with allow_other")
    func allowOtherGranted() async throws {
      let space = try PrivateNamespace(model: Self.model, allowsOthers: true)
      let output = try await space.run(
        """
        as_nobody "$stmount" -o allow_other "$model" "$mnt"
        cmp "$mnt/w" "$directory/w" && echo root
        setpriv --reuid 1234 --regid 1234 --clear-groups -- cmp "$mnt/w" "$directory/w" && echo other
        """)
      #expect(output == "root\nother")
    }

    @Test("A model, or a mount point, that the user cannot access is refused with 77")
    func unreadable() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        chmod 600 "$model"
        as_nobody "$stmount" "$model" "$mnt" 2>&1 || echo "status $?"
        chmod 644 "$model"; chown 0:0 "$mnt"
        as_nobody "$stmount" "$model" "$mnt" 2>&1 || echo "status $?"
        chown 65534:65534 "$mnt"; chmod 600 /dev/fuse
        as_nobody "$stmount" "$model" "$mnt" 2>&1 || echo "status $?"
        """)
      let lines = output.split(separator: "\n")
      try #require(lines.count == 6, "\(output)")
      #expect(lines[0].contains("m.safetensors") && lines[0].contains("Permission denied"))
      #expect(lines[2].contains("belongs to root"))
      #expect(lines[4].contains("/dev/fuse"))
      for status in [1, 3, 5] { #expect(lines[status] == "status 77", "\(output)") }
    }

    @Test("Without fusermount3, or with the fusermount of FUSE 2 alone, the message says to install it: 69")
    func noFusermount() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        # Makes a /usr/bin that has all programs except that one.
        mkdir "$directory/tools"
        mount --bind /usr/bin "$directory/tools"
        mount -t tmpfs tmpfs /usr/bin
        "$directory/tools/ln" -s "$directory/tools/"* /usr/bin
        rm /usr/bin/fusermount3
        rm -f /usr/bin/fusermount
        as_nobody "$stmount" "$model" "$mnt" 2>&1 || echo "status $?"
        as_nobody "$stmount" --doctor | grep '^FAIL  fuse'
        "$directory/tools/ln" -s "$directory/tools/true" /usr/bin/fusermount
        as_nobody "$stmount" "$model" "$mnt" 2>&1 || echo "status $?"
        as_nobody "$stmount" --doctor | grep '^FAIL  fuse'
        """)
      let lines = output.split(separator: "\n")
      try #require(lines.count == 6, "\(output)")
      for status in [1, 4] { #expect(lines[status] == "status 69") }
      #expect(
        lines[0].hasSuffix("fusermount3 is not installed, and only root can mount without it: install fuse3"))
      #expect(lines[3].hasSuffix("install fuse3; the fusermount that is here belongs to FUSE 2"))
      #expect(lines[2] == "FAIL  fusermount3 is not installed: only root can mount")
      #expect(
        lines[5] == "FAIL  fusermount3 is not installed, only the fusermount of FUSE 2: only root can mount")
    }

    @Test("Without /dev/fuse the command says so, and exits with 69")
    func noDevice() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        umount /dev/fuse
        mount -t tmpfs tmpfs /dev
        "$stmount" "$model" "$mnt" 2>&1 || echo "status $?"
        """)
      let lines = output.split(separator: "\n")
      #expect(lines.count == 2 && lines.last == "status 69", "\(output)")
      #expect(output.contains("no FUSE device"))
    }

    @Test("Other users cannot enter root's mount, not even for a model that all can read")
    func rootsMount() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try await withMount(path) { mount in
        let outcome = try await Command.run("cat", ["\(mount.file("w"))"], user: PrivateNamespace.nobody)
        #expect(outcome.status == 1 && outcome.output.isEmpty && outcome.error.contains("Permission denied"))
      }
    }

    @Test(
      "With allow_other, a warning names a source that only its owner may read, as safetensors 0.8 writes files"
    )
    func closedSource() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      let mountPoint = try files.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      let cases: [(mode: mode_t, options: String, isSaid: Bool)] = [
        (0o600, "allow_other", true), (0o640, "allow_other", true), (0o644, "allow_other", false),
        (0o600, "allow_other,umask=022", false), (0o600, "ro", false),
      ]
      for (mode, options, isSaid) in cases {
        try #require(unsafe chmod("\(path)", mode) == 0)
        let outcome = try await Command.stmount(["-o", options, "\(path)", "\(mountPoint)"])
        #expect(outcome.status == 0)
        #expect(outcome.errorLines.count == (isSaid ? 1 : 0), "\(mode) \(options): \(outcome.error)")
        #expect(
          outcome.error.contains("despite allow_other, since only its owner may read '\(path)'") == isSaid)
        try await Command.output(of: "umount", "\(mountPoint)")
      }
    }

    @Test("With allow_other the source's owner and mode decide who reads")
    func modesDecide() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      func readable(mode: mode_t, owner: UInt32, options: String = "allow_other") async throws -> Bool {
        try #require(unsafe chmod("\(path)", mode) == 0)
        try #require(unsafe chown("\(path)", owner, owner) == 0)
        return try await withMount(path, options: ["-o", options]) { mount in
          let info = try mount.info
          #expect(info.fileSystemOptions.contains("allow_other"))
          let list = try await Command.run("ls", ["\(mount.path)"], user: PrivateNamespace.nobody)
          let read = try await Command.run("cat", ["\(mount.file("w"))"], user: PrivateNamespace.nobody)
          #expect(list.status == 0 || read.status != 0)
          if read.status == 0 {
            expectSame(read.output, Self.model.tensors[0].data, "w")
            return true
          }
          #expect(read.output.isEmpty && read.error.contains("Permission denied"))
          #expect(list.status != 0)
          return false
        }
      }
      #expect(try await readable(mode: 0o644, owner: 0))
      #expect(try await !readable(mode: 0o600, owner: 0))
      #expect(try await readable(mode: 0o600, owner: PrivateNamespace.nobody))
      #expect(try await readable(mode: 0o640, owner: PrivateNamespace.nobody))
      #expect(try await readable(mode: 0o600, owner: 0, options: "allow_other,uid=65534"))
      #expect(try await readable(mode: 0o600, owner: 0, options: "allow_other,umask=0"))
      #expect(try await !readable(mode: 0o644, owner: 0, options: "allow_other,umask=077"))
    }
  }
}
