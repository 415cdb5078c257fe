import Fixtures
import SystemPackage
import Testing

extension CommandTests {
  /// Packing that is interrupted leaves nothing behind.
  @Suite struct InterruptedPackTests {
    private static let model = SafetensorsFile(
      .init("a", "U8", [64 << 20], data: Array(repeating: 1, count: 64 << 20)), .init("b", "U8", [1]))

    /// Variables and functions of the scripts. `slow_down` limits reads of `$slow`, the source, to 8 MiB/s by default; `left` lists the
    /// directory of the output.
    private static let preamble = """
      stpack=$1; mkdir "$directory/models" "$directory/slow" "$directory/out"
      mv "$model" "$directory/models"
      slow=$directory/slow/m.safetensors; out=$directory/out/o.safetensors
      slow_down() {
        bindfs -o ro --read-rate="${1:-8}M" "$directory/models" "$directory/slow"
        trap 'umount -l "$directory/slow"; umount -l "$directory/out" 2>/dev/null || :' EXIT
      }
      # Waits until process $1 has opened its output, which may have no name yet.
      begins() { until ls -l /proc/$1/fd 2>/dev/null | grep -qF " $directory/out/"; do sleep 0.01; done; }
      left() { ls -A "$directory/out"; }
      # A longer header, so that the data has another alignment and the kernel does not copy it.
      shift='--rename s/a/a.longer.name/'
      ends_alike() {
        tail -c 67108865 "$directory/models/m.safetensors" >"$directory/end"
        tail -c 67108865 "$out" | cmp - "$directory/end"
      }

      """

    private func run(_ script: String) async throws -> String {
      let space = try PrivateNamespace(model: Self.model)
      return try await space.run(Self.preamble + script, "\(Machine.stpack)")
    }

    @Test(
      "A signal during packing removes the partial output, and ends the command",
      arguments: [false, true])
    func signals(hasName: Bool) async throws {
      // These are all signals that end a process, except KILL, and XFSZ, which is an error of write(2) here. Of the real-time signals,
      // two are enough. Background commands of a shell ignore SIGINT unless `env --default-signal` resets it.
      let output = try await run(
        """
        \(hasName ? #"mkdir "$directory/real"; bindfs "$directory/real" "$directory/out""# : "")
        slow_down 32
        for signal in $(seq 8) $(seq 10 16) 24 26 27 29 30 31 34 64; do
          env --default-signal "$stpack" "$slow" -o "$out" 2>/dev/null & pid=$!
          \(hasName ? #"until [ -n "$(left)" ]; do sleep 0.01; done"# : "begins $pid")
          kill -$signal $pid
          status=0; wait $pid || status=$?
          [ $status = $((128 + signal)) ] || echo "status $status after signal $signal"
          left
        done
        """)
      #expect(output == "", "\(output)")
    }

    @Test("SIGKILL leaves nothing either, on file systems with O_TMPFILE")
    func killed() async throws {
      let output = try await run(
        """
        mount -t tmpfs tmpfs "$directory/out"
        slow_down
        "$stpack" "$slow" -o "$out" & begins $!
        left
        kill -KILL $!; wait $! || echo "status $?"
        left
        """)
      #expect(output == "status 137", "\(output)")
    }

    @Test("A signal that the command inherits as ignored is ignored: nohup(1)")
    func ignored() async throws {
      let output = try await run(
        """
        "$stpack" "$directory/models/m.safetensors" -n -o "$out" >/dev/null
        slow_down
        (trap '' HUP; exec "$stpack" "$slow" -o "$out" --include b) &
        # Waits until the subshell has become stpack.
        until grep -qx stpack /proc/$!/comm; do sleep 0.01; done; kill -HUP $!
        wait $! && left
        """)
      #expect(output == "o.safetensors", "\(output)")
    }

    @Test(
      "A source that changes while it is packed is an error that names it",
      arguments: [
        "truncate -s 30M", "touch -m", "dd if=/dev/zero bs=1 count=1 conv=notrunc status=none seek=99 of=",
      ])
    func changes(change: String) async throws {
      let command =
        change.hasSuffix("=")
        ? "\(change)\"$directory/models/m.safetensors\"" : "\(change) \"$directory/models/m.safetensors\""
      let output = try await run(
        """
        slow_down 32
        "$stpack" "$slow" -o "$out" 2>"$directory/error" &
        # bindfs may report old attributes for a second.
        begins $!; kill -STOP $!; \(command); sleep 1.1; kill -CONT $!
        wait $! || echo "status $?"
        wc -l <"$directory/error"; grep -c 'm.safetensors.*changed while it was read' "$directory/error"
        left
        """)
      #expect(output == "status 65\n1\n1", "\(output)")
    }

    @Test("A full disk, and a limit on the size of files, leave nothing")
    func full() async throws {
      let output = try await run(
        """
        # The second file ends at the end of a buffer, so all of it is written in the background.
        slow_down
        for options in "" "--align 1048576 --include a"; do
          mount -t tmpfs -o size=66m tmpfs "$directory/out"
          "$stpack" "$slow" -o "$out" $options 2>"$directory/error" & begins $!
          # Another file takes the space meanwhile.
          dd if=/dev/zero of="$directory/out/other" bs=1M count=60 status=none
          wait $! || { status=$?; cat "$directory/error"; echo "status $status"; }
          rm "$directory/out/other"
          left
          umount "$directory/out"
          (ulimit -f 9000; "$stpack" "$directory/models/m.safetensors" -o "$out" $options 2>&1 || echo "status $?")
          left
        done
        """)
      let lines = output.split(separator: "\n")
      #expect(lines.count == 8, "\(output)")
      let ends = [
        "cannot write it: No space left on device", "status 71", "cannot write it: File too large",
        "status 71",
      ]
      for (line, end) in zip(lines, ends + ends) { #expect(line.hasSuffix(end), "\(output)") }
    }

    @Test("An output larger than the free space is refused with both sizes, before it is written")
    func space() async throws {
      var torch = TorchFile()
      let storage = torch.addStorage("Byte", count: 1)
      torch.object = .ordered(["huge": torch.view(of: storage, [1 << 62], strides: [0])])
      let space = try PrivateNamespace(model: Self.model)
      try space.directory.write("huge.pt", torch)
      let output = try await space.run(
        Self.preamble + """
          mount -t tmpfs -o size=8m tmpfs "$directory/out"
          for input in "$directory/huge.pt" "$directory/models/m.safetensors"; do
            "$stpack" "$input" -o "$out" 2>&1 || echo "status $?"
            left
          done
          """, "\(Machine.stpack)")
      let lines = output.split(separator: "\n")
      #expect(lines.count == 4 && lines[1] == "status 73" && lines[3] == "status 73", "\(output)")
      #expect(
        lines.first?.contains("it takes 4611686018427388008 bytes, and 8388608 are free") == true,
        "\(output)")
    }

    @Test("A user without more threads can pack")
    func threads() async throws {
      let output = try await run(
        """
        chmod 777 "$directory/out"
        limited() { setpriv --reuid 9 --regid 9 --clear-groups \\
          sh -c 'ulimit -u 1 2>/dev/null || ulimit -p 1; "$@"' sh "$@"; }
        limited eval '(:)' 2>/dev/null || echo refused
        # Another user may not be able to reach the build directory.
        install -m 755 "$stpack" "$directory/stpack"
        limited exec "$directory/stpack" "$directory/models/m.safetensors" -o "$out" $shift
        ends_alike && echo same
        """)
      #expect(output == "refused\nsame", "\(output)")
    }

    @Test("Progress is shown only on a terminal")
    func progress() async throws {
      let output = try await run(
        """
        slow_down 32
        "$stpack" "$slow" -o "$out" 2>&1
        TERM=xterm script -qec "$stpack $slow -fo $out" /dev/null | tr '\\r' '\\n' | grep -cE \\
          '^stpack: [0-9.]+M of 65M, [0-9.]+M/s, 0:[0-9][0-9] left'
        """)
      #expect((Int(output) ?? 0) > 3, "\(output)")
    }

    @Test("A large model takes little memory, and has the same bytes")
    func memory() async throws {
      let output = try await run(
        """
        (ulimit -d 60000; "$stpack" "$directory/models/m.safetensors" -o "$out")
        cmp "$directory/models/m.safetensors" "$out" && echo same
        (ulimit -d 60000; "$stpack" "$directory/models/m.safetensors" -o "$out" -f $shift)
        ends_alike && echo same
        """)
      #expect(output == "same\nsame", "\(output)")
    }
  }
}
