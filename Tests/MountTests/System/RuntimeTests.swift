import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// A mount besides its files: readiness, log, counters, idle time.
  @Suite struct RuntimeTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300_000]), .init("b", "F32", [3]))

    @Test("--ready-fd reports when the mount answers, and is then closed", arguments: ["", "-f"])
    func readyDescriptor(foreground: String) async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        mkfifo "$directory/ready"
        "$stmount" $1 --ready-fd 3 "$model" "$mnt" 3>"$directory/ready" 2>/dev/null &
        # od reads to the end: the mount continues, but has closed the pipe.
        ready=$(od -A n -t x1 <"$directory/ready")
        cmp "$mnt/w" "$directory/w" && echo "ready:$ready"
        umount "$mnt"
        wait
        """, foreground)
      #expect(output == "ready: 0a")
    }

    @Test(
      "A mount in the background keeps no lock and no pipe of its starter open, and its source may be an inherited file"
    )
    func inheritedFiles() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        exec 8>"$directory/lock" 9<"$model"
        flock 8
        # cat would never end if the daemon kept the pipe open.
        (exec 7>&1; "$stmount" /dev/fd/9 "$mnt") | cat
        exec 8>&- 9<&-
        flock -n "$directory/lock" echo free
        cmp "$mnt/w" "$directory/w" && umount "$mnt"
        """)
      #expect(output == "free")
    }

    @Test("If the mount fails, the descriptor is closed without a newline")
    func neverReady() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        mkfifo "$directory/ready"
        "$stmount" --ready-fd 3 "$model" /nowhere 3>"$directory/ready" 2>/dev/null &
        wc -c <"$directory/ready"
        wait $! || echo "status $?"
        "$stmount" --ready-fd 9 "$model" "$mnt" 2>&1 || echo "status $?"
        """)
      let lines = output.split(separator: "\n")
      #expect(lines.prefix(2) == ["0", "status 73"])
      #expect(lines.last == "status 64" && output.contains("--ready-fd"), "\(output)")
    }

    @Test(
      "In the foreground, mounting and unmounting log one line each, with the model and the mount point")
    func foregroundLog() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        "$stmount" -f --ready-fd 3 "$model" "$mnt" 3>"$directory/ready" 2>"$directory/log" &
        until [ -s "$directory/ready" ]; do sleep 0.01; done
        umount "$mnt"; wait
        sed "s|$directory|D|g" "$directory/log"
        """)
      #expect(
        output == """
          stmount: 'D/mnt': mounted 'D/m.safetensors': 2 tensors, 300012 bytes
          stmount: 'D/mnt': unmounted 'D/m.safetensors'
          """)
    }

    @Test("--log-level error logs only errors, with the model and the mount point")
    func errorLog() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        "$stmount" -f --log-level error --ready-fd 3 "$model" "$mnt" 3>"$directory/ready" 2>"$directory/log" &
        until [ -s "$directory/ready" ]; do sleep 0.01; done
        truncate -s 100 "$model"
        cat "$mnt/w" "$mnt/b" >/dev/null 2>&1 || echo failed
        umount "$mnt"; wait
        sed "s|$directory|D|g" "$directory/log"
        """)
      let lines = output.split(separator: "\n")
      #expect(lines.first == "failed" && lines.count == 2, "\(output)")
      #expect(
        lines.last?.hasPrefix("stmount: error: 'D/mnt': 'D/m.safetensors' has changed") == true, "\(output)")
    }

    @Test("When standard error is the journal, each line begins with its priority")
    func journal() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        : >"$directory/log"
        export JOURNAL_STREAM=$(stat -c %d:%i "$directory/log")
        "$stmount" -f -v --ready-fd 3 "$model" "$mnt" 3>"$directory/ready" 2>>"$directory/log" &
        until [ -s "$directory/ready" ]; do sleep 0.01; done
        kill -USR1 $!
        truncate -s 100 "$model"
        cat "$mnt/w" >/dev/null 2>&1 || :
        umount "$mnt"; wait
        "$stmount" "$directory/none" "$mnt" 2>>"$directory/log" || :
        cut -c 1-4 "$directory/log"
        # The command inherits the variable, but has another standard error.
        "$stmount" "$directory/none" "$mnt" 2>&1 || :
        """)
      let lines = output.split(separator: "\n")
      #expect(
        lines.dropLast().contains("<3>'") && lines.dropLast().allSatisfy { $0.hasPrefix("<") }, "\(output)")
      #expect(
        lines.filter { $0.hasPrefix("<5>") }.count == 3 && lines.filter { $0.hasPrefix("<3>") }.count == 2)
      #expect(lines.last?.hasPrefix("stmount: ") == true)
    }

    @Test("In the background, the log goes to syslog")
    func syslog() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        mount -t tmpfs tmpfs /dev
        mknod -m 666 /dev/null c 1 3
        mknod -m 666 /dev/fuse c 10 229
        socat -u UNIX-RECV:/dev/log CREATE:"$directory/log" &
        logger=$!
        trap 'kill $logger 2>/dev/null || :; umount -l "$mnt" 2>/dev/null || :' EXIT
        until [ -S /dev/log ]; do sleep 0.01; done
        "$stmount" "$model" "$mnt"
        pid=$(daemon)
        umount "$mnt"; ends "$pid"
        for _ in $(seq 3000); do grep -q unmounted "$directory/log" && break; sleep 0.01; done
        kill $logger
        tr '<' '\\n' <"$directory/log" | sed "s|$directory|D|g"
        """)
      // Facility daemon is 3, and severity notice is 5: 8 * 3 + 5.
      let lines = output.split(separator: "\n")
      #expect(
        lines.count == 2 && lines.allSatisfy { $0.hasPrefix("29>") && $0.contains(" stmount[") }, "\(output)")
      #expect(lines.first?.hasSuffix("'D/mnt': mounted 'D/m.safetensors': 2 tensors, 300012 bytes") == true)
    }

    @Test("SIGUSR1 logs the requests by kind, the bytes read and the errors")
    func counters() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        "$stmount" -f --ready-fd 3 "$model" "$mnt" 3>"$directory/ready" 2>"$directory/log" &
        until [ -s "$directory/ready" ]; do sleep 0.01; done
        cat "$mnt/w" >/dev/null
        ls "$mnt/none" 2>/dev/null || :
        kill -USR1 $!
        for _ in $(seq 3000); do grep -q read "$directory/log" && break; sleep 0.01; done
        umount "$mnt"; wait
        sed -n 2p "$directory/log"
        """)
      #expect(
        output.contains(
          /: lookup [1-9][0-9]*, .*read [1-9][0-9]*, statfs [1-9][0-9]*; 300000 bytes read, 0 errors$/),
        "\(output)")
    }

    @Test(
      "--idle-timeout ends a mount without use, and not one that is held", arguments: ["root", "nobody"])
    func idle(user: String) async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        user() { if [ "$1" = root ]; then shift; "$@"; else shift; as_nobody "$@"; fi; }
        mkdir "$directory/other"; chown 65534 "$directory/other"
        user "$1" "$stmount" --idle-timeout 1.5 "$model" "$mnt"
        # A working directory in the mount makes no requests. Once a later mount has ended, this one has had the time to end too.
        user "$1" sh -c 'cd "$1"; "$2" --idle-timeout 1.5 "$3" "$4"
          while findmnt --mountpoint "$4" >/dev/null; do sleep 0.01; done; ls' sh "$mnt" "$stmount" "$model" "$directory/other"
        pid=$(daemon || :); [ -z "$pid" ] || ends "$pid"
        findmnt --mountpoint "$mnt" || echo gone
        """, user)
      #expect(output == "b\nmetadata.json\nw\ngone")
    }

    @Test("A mount with repeated reads does not become idle, and -o idle_timeout= is equivalent")
    func busy() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        mkdir "$directory/other"
        "$stmount" -o idle_timeout=2 "$model" "$mnt"
        "$stmount" -o idle_timeout=2 "$model" "$directory/other"
        while findmnt --mountpoint "$directory/other" >/dev/null; do stat -f "$mnt" >/dev/null; sleep 0.1; done
        stat -f "$mnt" >/dev/null
        findmnt -n -o FSTYPE --mountpoint "$mnt"
        pid=$(daemon || :); [ -z "$pid" ] || ends "$pid"
        findmnt --mountpoint "$mnt" || echo gone
        """)
      #expect(output == "fuse.stmount\ngone")
    }

    @Test("--clear-dead clears a dead mount with a subtype, if the subtype is given again")
    func clearDeadSubtype() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        "$stmount" -o subtype=weights "$model" "$mnt"
        pid=$(daemon); kill -9 "$pid"; ends "$pid"
        "$stmount" --clear-dead -o subtype=other "$model" "$mnt" 2>/dev/null || echo "status $?"
        "$stmount" --clear-dead -o subtype=weights "$model" "$mnt"
        cmp "$mnt/w" "$directory/w" && findmnt -n -o FSTYPE --mountpoint "$mnt"
        """)
      #expect(output == "status 73\nfuse.weights")
    }

    @Test("--clear-dead clears the mount of a killed daemon, and no live mount")
    func clearDead() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        for user in root nobody; do
          user() { if [ $user = root ]; then "$@"; else as_nobody "$@"; fi; }
          user "$stmount" --clear-dead "$model" "$mnt"
          pid=$(daemon)
          user "$stmount" --clear-dead "$model" "$mnt" 2>/dev/null || echo "status $?"
          kill -9 "$pid"; ends "$pid"
          user "$stmount" "$model" "$mnt" 2>/dev/null || echo "status $?"
          user "$stmount" --clear-dead "$model" "$mnt"
          user cmp "$mnt/w" "$directory/w" && echo same
          findmnt -n -o FSTYPE --mountpoint "$mnt"
          pid=$(daemon)
          umount "$mnt"
          ends "$pid"
        done
        """)
      let expected = "status 73\nstatus 73\nsame\nfuse.stmount"
      #expect(output == expected + "\n" + expected)
    }
  }
}
