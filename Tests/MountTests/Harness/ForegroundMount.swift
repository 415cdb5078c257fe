import Fixtures
import Glibc
import Subprocess
import SystemPackage
import Testing

/// A model that the built command serves in the foreground, so that tests see its log and its exit status.
struct ForegroundMount {
  /// The mount point in the daemon's mount namespace.
  fileprivate let ownPath: FilePath
  /// True if the daemon has a mount namespace of its own.
  fileprivate let isApart: Bool
  let daemon: Int32
  /// Kept open, since a test may cover the daemon's directory.
  fileprivate let logFile: OpenFile

  /// The mount point.
  var path: FilePath { isApart ? FilePath("/proc/\(daemon)/root\(ownPath)") : ownPath }

  /// The path of a name below the mount point.
  func file(_ name: String) -> FilePath { path.appending(name) }

  /// The lines of standard error so far.
  var log: [Substring] {
    get throws { try String(decoding: logFile.bytes(1 << 20, at: 0), as: UTF8.self).split(separator: "\n") }
  }

  /// True while the path leads to the mount.
  var isMounted: Bool {
    get throws { try !MountInfo.all(at: ownPath, of: isApart ? "\(daemon)" : "self").isEmpty }
  }

  /// True while any thread of the daemon runs.
  var isRunning: Bool { Daemon(id: daemon).isRunning }

  func send(_ signal: CInt) { _ = kill(daemon, signal) }

  /// Waits until the daemon has handled all signals that were sent. It sends SIGUSR1, which the daemon handles last and which adds
  /// a line to the log at `--log-level notice`.
  func answersSignals() async throws {
    try #require(try await eventually { try !Daemon(id: daemon).hasPendingSignals })
    func count() throws -> Int { try log.count { $0.contains("bytes read") } }
    let before = try count()
    send(SIGUSR1)
    try #require(try await eventually { try count() > before })
  }
}

/// Mounts sources in the foreground and runs `body`, which must end the daemon by a signal or by unmounting. Expects the log to
/// have only problems. Returns the exit status of the daemon. If `body` throws, kills the daemon.
func withForegroundMount(
  _ sources: FilePath..., options: [String] = [], _ body: (ForegroundMount) async throws -> Void
) async throws -> Int32 {
  try await withForegroundMount(sources, options: options, body)
}

/// The same with a list of sources. Without `hasInotify`, the daemon runs in its own mount namespace, and in a user namespace
/// whose users may have no inotify(7) instance.
func withForegroundMount(
  _ sources: [FilePath], options: [String] = [], hasInotify: Bool = true,
  _ body: (ForegroundMount) async throws -> Void
) async throws -> Int32 {
  try Machine.check()
  let directory = try TemporaryDirectory()
  let path = try directory.makeDirectory("mnt")
  let logFile = try directory.write("log", text: "")
  let log = try FileDescriptor.open(logFile, .writeOnly, options: [.append, .closeOnExec])
  defer { _ = unsafe umount2("\(path)", Int32(MNT_DETACH)) }

  var command = ["\(try Machine.stmount)"]
  if !hasInotify {
    // Root of the user namespace cannot enter another user's home directory.
    let copy = try directory.write("stmount", OpenFile(Machine.stmount).bytes(step: 1 << 24))
    _ = unsafe chmod("\(copy)", 0o755)
    let script = #"echo 0 >/proc/sys/user/max_inotify_instances; exec "$0" "$@""#
    command = ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "sh", "-euc", script, "\(copy)"]
  }
  command += ["--log-level", "warning"] + options + ["-f"] + sources.map { "\($0)" } + ["\(path)"]
  let result = try await Subprocess.run(
    .path(FilePath(command[0])), arguments: Arguments(Array(command.dropFirst())),
    input: .none, output: .discarded, error: .fileDescriptor(log, closeAfterSpawningProcess: true)
  ) { execution in
    let mount = ForegroundMount(
      ownPath: path, isApart: !hasInotify, daemon: execution.processIdentifier.value,
      logFile: try OpenFile(logFile))
    do {
      let isMounted = try await eventually { try mount.isMounted }
      let log = try mount.log
      try #require(isMounted, "the command does not mount: \(log)")
      try await body(mount)
    } catch {
      mount.send(SIGKILL)
      throw error
    }
  }
  #expect(try MountInfo.all(at: path).isEmpty, "the mount outlives its daemon")
  return result.terminationStatus.shellStatus
}
