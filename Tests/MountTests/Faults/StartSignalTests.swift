import Fixtures
import Glibc
import Subprocess
import SystemPackage
import Testing

extension MountTests {
  /// Signals at any moment between exec and the last unmount.
  @Suite struct StartSignalTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300_000]))
    private static let seed: UInt64 = 404
    private let files: TemporaryDirectory
    private let source: FilePath
    private let mountPoint: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", Self.model)
      mountPoint = try files.makeDirectory("mnt")
    }

    /// Starts the command, sends it a signal after `delay` microseconds, and returns how it ended.
    private func interrupted(_ arguments: [String], by signal: CInt, after delay: UInt32) async throws
      -> Int32
    {
      try Machine.check()
      let result = try await Subprocess.run(
        .path(Machine.stmount), arguments: Arguments(arguments), input: .none, output: .discarded,
        error: .discarded
      ) { execution in
        usleep(delay)
        _ = kill(execution.processIdentifier.value, signal)
        if signal == SIGQUIT {
          // If the first signal arrived before main, the Swift runtime may have taken it for a crash to report, and it is lost.
          let command = Daemon(id: execution.processIdentifier.value)
          for _ in 0..<20 where command.isRunning { usleep(5000) }
          _ = kill(execution.processIdentifier.value, signal)
        }
      }
      return result.terminationStatus.shellStatus
    }

    /// The duration in microseconds of a start without a signal. Unmounts afterwards.
    private func startTime() async throws -> UInt32 {
      let clock = ContinuousClock()
      let begin = clock.now
      let status = try await interrupted(["\(source)", "\(mountPoint)"], by: 0, after: 0)
      let time = clock.now - begin
      try #require(status == 0)
      _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH))
      try #require(try await eventually { try Daemon(servingAt: mountPoint) == nil })
      return UInt32(time / .microseconds(1))
    }

    @Test(
      "A signal at any moment of the start ends the command; it has mounted, or nothing is left",
      arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGKILL])
    func start(signal: CInt) async throws {
      var random = SeededGenerator(seed: Self.seed &+ UInt64(signal))
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      var mounted = 0
      var interrupted = 0
      // Half of the delays end after a usual start. On a busy machine all signals can come before its end, or all after it; then
      // the test sends later or earlier ones.
      var latest = try await startTime() * 2
      for round in 0..<500 where round < 50 || interrupted == 0 || mounted == 0 {
        if round >= 50 { latest = mounted == 0 ? latest * 2 : latest / 2 }
        let delay = UInt32.random(in: 0...latest, using: &random)
        let what = "seed \(Self.seed), round \(round), signal \(signal) after \(delay) µs"
        let status = try await self.interrupted(["\(source)", "\(mountPoint)"], by: signal, after: delay)
        if status == 0 {
          mounted += 1
          let daemon = try #require(try Daemon(servingAt: mountPoint), "\(what): no daemon")
          #expect(
            try OpenFile(mountPoint.appending("w")).bytes(1, at: 0) == [Self.model.tensors[0].data[0]],
            "\(what)")
          daemon.send(signal == SIGKILL ? SIGTERM : signal)
        } else {
          interrupted += 1
          #expect(status == 128 + signal, "\(what): status \(status)")
        }
        let isClear = try await eventually {
          try MountInfo.all(at: mountPoint).isEmpty && Daemon(servingAt: mountPoint) == nil
        }
        try #require(isClear, "\(what): status \(status), and something is left")
      }
      #expect(interrupted > 0 && mounted > 0, "\(interrupted) were interrupted and \(mounted) were not")
    }

    @Test(
      "In the foreground the command exits with 0, or by the signal if nothing was mounted yet",
      arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT])
    func foreground(signal: CInt) async throws {
      var random = SeededGenerator(seed: Self.seed &+ UInt64(signal))
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      for round in 0..<30 {
        let delay = UInt32.random(in: 0...30_000, using: &random)
        let status = try await interrupted(["-f", "\(source)", "\(mountPoint)"], by: signal, after: delay)
        let what = "seed \(Self.seed), round \(round), signal \(signal) after \(delay) µs: status \(status)"
        #expect(status == 0 || status == 128 + signal, "\(what)")
        try #require(try MountInfo.all(at: mountPoint).isEmpty, "\(what), and the mount is left")
      }
    }

    @Test(
      "An unprivileged user's command leaves nothing either, although fusermount3 mounts and unmounts for it")
    func unprivileged() async throws {
      let space = try PrivateNamespace(model: Self.model)
      var random = SeededGenerator(seed: Self.seed)
      let rounds = (0..<40).map { _ in
        let signal = ["TERM", "INT", "HUP", "QUIT", "KILL"].randomElement(using: &random) ?? "TERM"
        let delay = Int.random(in: 0...60_000, using: &random)
        return "\(signal) 0.\("\(1_000_000 + delay)".dropFirst())"
      }
      let output = try await space.run(
        """
        # The shell does not know which of its children is stmount.
        served() { for p in /proc/[0-9]*; do
          read -r name <"$p/comm" 2>/dev/null && [ "$name" = stmount ] && grep -qs -- "$mnt" "$p/cmdline" \\
            && grep -qs '^State:.[^ZX]' "$p/status" && return; done; return 1; }
        printf '%s\\n' "$1" | while read -r signal delay; do
          # Does not use as_nobody, because $! must be the command and not a subshell.
          setpriv --reuid 65534 --regid 65534 --clear-groups -- "$stmount" "$model" "$mnt" &
          pid=$!
          sleep "$delay"
          kill "-$signal" "$pid" 2>/dev/null || :
          status=0; wait "$pid" 2>/dev/null || status=$?
          if [ $status = 0 ]; then
            as_nobody cmp "$mnt/w" "$directory/w" || echo "$signal $delay: mounted, and cannot be read"
            as_nobody fusermount3 -u "$mnt"
          elif [ $status -lt 129 ]; then echo "$signal $delay: status $status"; fi
          for _ in $(seq 3000); do
            findmnt --mountpoint "$mnt" >/dev/null || served || break; sleep 0.01; done
          ! findmnt --mountpoint "$mnt" || { echo "$signal $delay: status $status, mount left"; umount -l "$mnt"; }
          ! served || echo "$signal $delay: status $status, daemon left"
        done
        echo done
        """, rounds.joined(separator: "\n"))
      #expect(output == "done")
    }

    @Test("Two signals in a row end a mount under load, as one does", arguments: 0..<8)
    func twoSignals(round: Int) async throws {
      var random = SeededGenerator(seed: Self.seed &+ UInt64(round))
      let signals = [SIGTERM, SIGINT, SIGHUP, SIGQUIT].shuffled(using: &random)
      let pause = UInt32.random(in: 0...3000, using: &random)
      let status = try await withForegroundMount(source) { mount in
        let reading = onThread {
          while let file = try? OpenFile(mount.file("w"), OpenFile.direct) {
            expectSame(try file.alignedBytes(4096, at: 4096), Self.model.tensors[0].data[4096..<8192], "w")
          }
        }
        usleep(1000)
        mount.send(signals[0])
        usleep(pause)
        mount.send(signals[1])
        try await reading.value
        #expect(try await eventually { try !mount.isMounted })
      }
      #expect(status == 0)
    }
  }
}
