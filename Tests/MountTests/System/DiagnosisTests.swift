import Fixtures
import Testing

extension MountTests {
  /// Machines that do not allow a mount: the message has the reason and the remedy.
  @Suite struct DiagnosisTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300]))

    /// Runs a script whose last command fails, and expects its message to have all `words`.
    private func expect(_ script: String, status: Int, says words: [String]) async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run("{\n\(script)\n} 2>&1 || echo \"status $?\"")
      let lines = output.split(separator: "\n")
      #expect(lines.count == 2 && lines.last == "status \(status)", "\(output)")
      for word in words { #expect(output.contains(word), "\(output)") }
    }

    @Test("Root without CAP_SYS_ADMIN, as in a container, is told how to start the container")
    func container() async throws {
      try await expect(
        #"setpriv --bounding-set -sys_admin -- "$stmount" "$model" "$mnt""#, status: 77,
        says: ["CAP_SYS_ADMIN", "--cap-add SYS_ADMIN --device /dev/fuse"])
    }

    @Test("A user who cannot gain privileges is told the cause")
    func noNewPrivileges() async throws {
      try await expect(
        #"as_nobody setpriv --no-new-privs "$stmount" "$model" "$mnt""#, status: 77,
        says: ["NoNewPrivileges="])
    }

    @Test("A fusermount3 that is not setuid is named")
    func notSetuid() async throws {
      try await expect(
        """
        cp "$(command -v fusermount3)" "$directory/fusermount3"; chmod 755 "$directory/fusermount3"
        for tool in /bin/fusermount3 /usr/bin/fusermount3; do mount --bind "$directory/fusermount3" $tool; done
        as_nobody "$stmount" "$model" "$mnt"
        """, status: 77, says: ["setuid root", "fusermount3"])
    }

    @Test("The limit on the number of mounts is named")
    func tooMany() async throws {
      try await expect(
        """
        [ -e /etc/fuse.conf ] || { echo "/etc/fuse.conf is missing: install fuse3"; exit 1; }
        echo 'mount_max = 0' >/etc/fuse.conf
        as_nobody "$stmount" "$model" "$mnt"
        """, status: 77, says: ["mount_max", "/etc/fuse.conf"])
    }

    @Test("--doctor reports that a working machine can mount, who may mount, and how fast it will be")
    func doctor() async throws {
      let space = try PrivateNamespace(model: Self.model)
      for user in ["", "as_nobody"] {
        // The test has its own /tmp, where no other program leaves files.
        let output = try await space.run(
          """
          mount --bind "$directory" /mnt; stmount=/mnt/bin/stmount; mount -t tmpfs -o mode=1777 tmpfs /tmp
          \(user) "$stmount" --doctor; echo "status $?"; ls -A /tmp
          """)
        #expect(output.hasSuffix("status 0"), "\(output)")
        for line in [
          "ok    /dev/fuse can be opened", "ok    a trial mount works",
          "ok    opening a file costs no request",
        ] {
          #expect(output.contains(line), "\(output)")
        }
        #expect(output.contains("user_allow_other >>/etc/fuse.conf"))
      }
    }

    @Test("--doctor reports what a machine that cannot mount lacks, and exits with 69")
    func doctorWithoutDevice() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        umount /dev/fuse
        mount -t tmpfs tmpfs /dev
        "$stmount" --doctor || echo "status $?"
        """)
      #expect(output.hasSuffix("status 69"), "\(output)")
      #expect(output.contains("FAIL  /dev/fuse cannot be opened\n      -> this machine has no FUSE device"))
      #expect(output.contains("FAIL  a trial mount fails"))
    }
  }
}
