import Fixtures
import Glibc
import SystemPackage
import Testing

/// The connection between the kernel and the daemon of a mount, in the file system fusectl.
struct Connection {
  private let directory: TemporaryDirectory
  private let path: FilePath

  /// The connection of the mount at a path. Sends no request to the mount or its daemon.
  fileprivate init(of mountPoint: FilePath, in directory: TemporaryDirectory) throws {
    self.directory = directory
    let mount = try #require(try MountInfo.all(at: mountPoint).last)
    path = directory.path.appending("\(mount.device)")
  }

  /// The number of requests without an answer.
  var waiting: Int {
    get throws {
      let text = try String(decoding: OpenFile(path.appending("waiting")).bytes(), as: UTF8.self)
      return try #require(Int(text.dropLast()))
    }
  }

  /// Aborts the connection.
  func abort() throws {
    let file = try FileDescriptor.open(path.appending("abort"), .writeOnly)
    try file.closeAfter { _ = try file.writeAll("1".utf8) }
  }
}

/// Runs `body` with the connection of the mount at a path.
func withConnection(of mountPoint: FilePath, _ body: (Connection) async throws -> Void) async throws {
  let directory = try TemporaryDirectory()
  // fusectl can be mounted anywhere, even if systemd has mounted it already.
  try await Command.output(of: "mount", "-t", "fusectl", "fusectl", "\(directory.path)")
  defer { _ = unsafe umount2("\(directory.path)", Int32(MNT_DETACH)) }
  try await body(Connection(of: mountPoint, in: directory))
}
