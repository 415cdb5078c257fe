import Fixtures
import Glibc
import SystemPackage
import Testing

/// The connection between the kernel and the daemon of a mount, as a mount of fusectl shows it.
struct Connection {
  private let directory: TemporaryDirectory
  private let path: FilePath

  /// The connection of what is mounted at a path. Asks neither the mount nor its daemon.
  fileprivate init(of mountPoint: FilePath, in directory: TemporaryDirectory) throws {
    self.directory = directory
    let mount = try #require(try MountInfo.all(at: mountPoint).last)
    path = directory.path.appending("\(mount.device)")
  }

  /// How many requests have no answer yet.
  var waiting: Int {
    get throws {
      let text = try String(decoding: OpenFile(path.appending("waiting")).bytes(), as: UTF8.self)
      return try #require(Int(text.dropLast()))
    }
  }

  /// Cuts it.
  func abort() throws {
    let file = try FileDescriptor.open(path.appending("abort"), .writeOnly)
    try file.closeAfter { _ = try file.writeAll("1".utf8) }
  }
}

/// Runs `body` with the connection of what is mounted at a path.
func withConnection(of mountPoint: FilePath, _ body: (Connection) async throws -> Void) async throws {
  let directory = try TemporaryDirectory()
  // It is mounted wherever systemd is, and can be mounted anywhere.
  try await Command.output(of: "mount", "-t", "fusectl", "fusectl", "\(directory.path)")
  defer { _ = unsafe umount2("\(directory.path)", Int32(MNT_DETACH)) }
  try await body(Connection(of: mountPoint, in: directory))
}
