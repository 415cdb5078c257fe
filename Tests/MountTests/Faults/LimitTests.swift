import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Missing processes, descriptors, memory and directories. The command works, or prints one line with the reason, and leaves
  /// nothing behind.
  @Suite struct LimitTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300_000]))

    /// A function that the scripts share: `tries NAME COMMAND…` runs a command that mounts. It prints a line unless the command either
    /// mounts correctly, or fails with one line and leaves nothing behind.
    private static let tries = """
      # $reader runs a command as the user who mounted, because root cannot read a user's mount.
      reader=
      user() { reader="setpriv --reuid $1 --regid $1 --clear-groups --"; }
      tries() {
        name=$1; shift
        status=0; timeout 40 "$@" >"$directory/out" 2>"$directory/err" || status=$?
        if [ $status = 0 ]; then
          $reader cmp -s "$mnt/w" "$directory/w" || echo "$name: mounted, and cannot be read"
          echo mounted >>"$directory/count"
          umount "$mnt" || echo "$name: cannot be unmounted"
        else
          echo failed >>"$directory/count"
          # libfuse adds lines of its own if no descriptor is left to catch them.
          [ "$(grep -vc '^fuse: ' "$directory/err")" = 1 ] && grep -q '^stmount: ' "$directory/err" \\
            || echo "$name: status $status: $(tr '\\n' ' ' <"$directory/err")"
          case $status in 6[4-9]|7[0-9]) ;; *) echo "$name: status $status";; esac
        fi
        for _ in $(seq 3000); do findmnt --mountpoint "$mnt" >/dev/null || served || break; sleep 0.01; done
        ! findmnt --mountpoint "$mnt" >/dev/null || { echo "$name: status $status, mount left"; umount -l "$mnt"; }
        ! served || echo "$name: status $status, daemon left"
      }
      served() { for p in /proc/[0-9]*; do
        read -r name_ <"$p/comm" 2>/dev/null && [ "$name_" = stmount ] && grep -qs -- "$mnt" "$p/cmdline" \\
          && grep -qs '^State:.[^ZX]' "$p/status" && return; done; return 1; }
      counts() { for what in mounted failed; do echo "$what: $(grep -c $what "$directory/count")"; done; }

      """

    @Test("With 4 to 24 file descriptors, the command mounts or prints one line")
    func descriptors() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        Self.tries + """
          for n in $(seq 4 24); do
            reader=; tries "$n descriptors" sh -c 'ulimit -n "$1"; shift; exec "$@"' sh $n "$stmount" "$model" "$mnt"
            user 65534; tries "$n descriptors, user" $reader \\
              sh -c 'ulimit -n "$1"; shift; exec "$@"' sh $n "$stmount" "$model" "$mnt"
          done
          counts
          """)
      let lines = output.split(separator: "\n")
      #expect(
        lines.count == 2 && !output.contains("mounted: 0") && !output.contains("failed: 0"), "\(output)")
    }

    @Test("More shards than the soft limit of open files mount; more than the hard limit are refused")
    func manyShards() async throws {
      let directory = try TemporaryDirectory()
      let count = 300
      func digits(_ number: Int) -> String {
        String(repeating: "0", count: 5 - String(number).count) + String(number)
      }
      for number in 1...count {
        let bytes = [UInt8(number & 0xFF), UInt8(number >> 8)]
        try directory.write(
          "model/model-\(digits(number))-of-\(digits(count)).safetensors",
          SafetensorsFile(.init("t\(number)", "U8", [2], data: bytes)))
      }
      let mountPoint = try directory.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      func mount(_ limits: String) async throws -> Outcome {
        let script = "\(limits) && exec \"$@\""
        return try await Command.run(
          "sh", ["-c", script, "sh", "\(try Machine.stmount)", "\(directory.path)/model", "\(mountPoint)"])
      }
      let outcome = try await mount("ulimit -S -n 256")
      #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
      for number in [1, 256, count] {
        let bytes = try OpenFile(mountPoint.appending("t\(number)")).bytes()
        #expect(bytes == [UInt8(number & 0xFF), UInt8(number >> 8)])
      }
      try await Command.output(of: "umount", "\(mountPoint)")
      let refused = try await mount("ulimit -S -n 256 && ulimit -H -n 256")
      #expect(refused.status == EX_OSERR && refused.errorLines.count == 1, "\(refused.error)")
      #expect(refused.error.contains("raise the hard limit"))
    }

    @Test("If a user may have no more processes, the command mounts or prints one line")
    func processes() async throws {
      let space = try PrivateNamespace(model: Self.model)
      // The limit counts all threads of the user, who has no other process.
      let output = try await space.run(
        Self.tries + """
          # fusermount3 requires that the user has a name.
          chown 9:9 "$mnt"; user 9
          for n in 1 2 3 4 5 8 12 16; do
            tries "$n processes" $reader \\
              sh -c 'ulimit -u "$1" 2>/dev/null || ulimit -p "$1"; shift; exec "$@"' sh $n "$stmount" "$model" "$mnt"
          done
          counts
          """)
      let lines = output.split(separator: "\n")
      #expect(
        lines.count == 2 && !output.contains("mounted: 0") && !output.contains("failed: 0"), "\(output)")
    }

    @Test("With little memory, the command makes a mount that works, or exits without one")
    func memory() async throws {
      let space = try PrivateNamespace(model: Self.model)
      // Without memory, an allocation in the C library or in Swift's runtime ends the program without a message. But the program
      // must end before it mounts, or undo everything. The script reads nothing, since a reply may lack memory too.
      let output = try await space.run(
        Self.tries + """
          reader=:
          # A released package has no program that describes crashes, so the script turns that off.
          export SWIFT_BACKTRACE=enable=no
          for n in 20000 $(seq 22000 1000 32000) $(seq 40000 8000 200000); do
            tries "$n KiB" sh -c 'ulimit -v "$1"; shift; exec "$@"' sh $n "$stmount" "$model" "$mnt" \\
              | grep -v 'status 1[23]\\|status 127\\|Fatal error' || :
          done
          counts
          """)
      let lines = output.split(separator: "\n")
      #expect(
        lines.count == 2 && !output.contains("mounted: 0") && !output.contains("failed: 0"), "\(output)")
    }

    @Test("stmount mounts with every combination of closed standard input, output and error")
    func closedStreams() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        Self.tries + """
          for streams in "" "<&-" ">&-" "2>&-" "<&- >&-" "<&- 2>&-" ">&- 2>&-" "<&- >&- 2>&-"; do
            tries "'$streams'" sh -c "exec \\"\\$@\\" $streams" sh "$stmount" "$model" "$mnt"
            # In the foreground, the daemon writes a log.
            sh -c "exec \\"\\$@\\" $streams" sh "$stmount" -f "$model" "$mnt" >/dev/null 2>&1 &
            pid=$!
            for _ in $(seq 3000); do findmnt --mountpoint "$mnt" >/dev/null && break; sleep 0.01; done
            cmp "$mnt/w" "$directory/w" || echo "'$streams': foreground, cannot be read"
            kill -TERM $pid
            wait $pid || echo "'$streams': foreground, status $?"
            # A failure has its exit status, even if nobody can read the message.
            status=0; sh -c "exec \\"\\$@\\" $streams" sh "$stmount" /nowhere "$mnt" >/dev/null 2>&1 || status=$?
            [ $status = 66 ] || echo "'$streams': failure, status $status"
          done
          counts
          """)
      #expect(output == "mounted: 8\nfailed: 0")
    }

    @Test("Without /tmp, and with a full one, mounts work and --doctor says in one line what is missing")
    func temporaryDirectory() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        Self.tries + """
          # The test's own files may be in /tmp.
          mkdir /run/stmount-test.$$; mount --bind "$directory" /run/stmount-test.$$
          trap 'umount -l "$mnt" /run/stmount-test.$$ 2>/dev/null || :; rmdir /run/stmount-test.$$' EXIT
          directory=/run/stmount-test.$$; mnt=$directory/mnt; model=$directory/m.safetensors
          stmount=$directory/bin/stmount
          for inodes in 1 none; do
            mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs /tmp
            [ $inodes = 1 ] || mount -t tmpfs -o ro tmpfs /tmp
            tries "/tmp" "$stmount" "$model" "$mnt"
            status=0; "$stmount" --doctor >"$directory/out" 2>&1 || status=$?
            echo "doctor: $status, $(grep -c /tmp "$directory/out")"
          done
          counts
          """)
      #expect(output == "doctor: 69, 1\ndoctor: 69, 1\nmounted: 2\nfailed: 0", "\(output)")
    }

    @Test("An inherited ignored SIGCHLD does not disturb fusermount3")
    func ignoredChildren() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        Self.tries + """
          as_nobody sh -c 'trap "" CHLD; exec "$@"' sh "$stmount" -f --log-level warning "$model" "$mnt" 2>"$directory/log" &
          for _ in $(seq 3000); do findmnt --mountpoint "$mnt" >/dev/null && break; sleep 0.01; done
          kill -TERM $(daemon)
          wait $! || echo "status $?"
          cat "$directory/log"
          findmnt --mountpoint "$mnt" || echo gone
          """)
      #expect(output == "gone")
    }
  }
}
