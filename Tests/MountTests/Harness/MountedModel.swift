import Fixtures
import Glibc
import SystemPackage
import Testing

/// A model that the built command has mounted, with its daemon in the background.
struct MountedModel {
  /// The mount point.
  let path: FilePath
  let daemon: Daemon

  /// The path of a name below the mount point.
  func file(_ name: String) -> FilePath { path.appending(name) }

  /// The contents of a file below the mount point.
  func bytes(_ name: String) throws -> [UInt8] { try OpenFile(file(name)).bytes() }

  /// What is mounted.
  var info: MountInfo {
    get throws { try #require(MountInfo.all(at: path).last) }
  }

  /// Runs umount(8), which must succeed, and waits for the daemon's end.
  func unmount() async throws {
    try await Command.output(of: "umount", "\(path)")
    #expect(try await eventually { !daemon.isRunning }, "the daemon outlives its mount")
  }
}

/// Mounts sources on a new directory, runs `body`, and unmounts in any case. Afterwards, expects that neither the daemon nor an
/// entry in the mount table is left.
///
/// `body` may unmount, or end the daemon.
@discardableResult
func withMount<Result>(
  _ sources: FilePath..., options: [String] = [], _ body: (MountedModel) async throws -> Result
) async throws -> Result {
  let directory = try TemporaryDirectory()
  // Other users must be able to reach the mount.
  _ = unsafe chmod("\(directory.path)", 0o755)
  let path = try directory.makeDirectory("mnt")
  let arguments = options + sources.map { "\($0)" } + ["\(path)"]
  let outcome = try await Command.stmount(arguments)
  // Cleans up even after an error.
  defer { _ = unsafe umount2("\(path)", Int32(MNT_DETACH)) }
  guard outcome.status == 0 else {
    throw CommandFailure(command: ["stmount"] + arguments, outcome: outcome)
  }
  #expect(try MountInfo.all(at: path).count == 1, "the command has ended, but nothing is mounted")
  let daemon = try #require(try Daemon(servingAt: path), "the command has ended, but no daemon runs")

  let result = try await body(MountedModel(path: path, daemon: daemon))

  if try !MountInfo.all(at: path).isEmpty { try await Command.output(of: "umount", "\(path)") }
  if try await !eventually({ !daemon.isRunning }) {
    Issue.record("the daemon outlives its mount")
    daemon.send(SIGKILL)
  }
  #expect(try MountInfo.all(at: path).isEmpty, "the mount outlives its daemon")
  return result
}
