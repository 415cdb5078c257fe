internal import Glibc
public import SystemPackage

/// A directory that is free to be mounted on.
public struct MountPoint: Sendable {
  /// Its absolute path, without symbolic links.
  public let path: FilePath

  /// Checks that a path is a directory and carries no mount; realpath(3), stat(2), proc_pid_mountinfo(5).
  ///
  /// `name` is the path in a form that is safe to print, for the errors.
  public init(checking path: FilePath, shownAs name: String) throws(MountError) {
    let entry: MountTable.Entry?
    let type: FileType
    do throws(Errno) {
      self.path = try Self.resolve(path)
      type = try Stat(self.path).type
      entry = try MountTable().topmost(at: self.path)
    } catch {
      throw Self.translate(error, name)
    }
    guard type == .directory else { throw Self.translate(.notDirectory, name) }
    if let entry {
      throw MountError(
        .mountPoint,
        "mount point \(name) already carries a mount of type \(entry.type); unmount it first: umount \(name)")
    }
  }

  private static func translate(_ error: Errno, _ name: String) -> MountError {
    switch error {
    case .noSuchFileOrDirectory:
      MountError(.mountPoint, "mount point \(name) does not exist; create it first: mkdir \(name)")
    case .notDirectory:
      MountError(.mountPoint, "mount point \(name) is not a directory")
    case .socketNotConnected:
      // What the kernel says of a FUSE mount whose daemon is gone: ENOTCONN.
      MountError(
        .mountPoint,
        "mount point \(name) holds a dead mount, whose daemon is gone; clear it first: umount -l \(name) "
          + "(or fusermount3 -u -z \(name))")
    case .permissionDenied, .notPermitted:
      MountError(.notPermitted, "mount point \(name) is out of reach: \(error)")
    default:
      MountError(.mountPoint, "mount point \(name) cannot be used: \(error)")
    }
  }

  private static func resolve(_ path: FilePath) throws(Errno) -> FilePath {
    let resolved = unsafe path.withPlatformString { unsafe realpath($0, nil) }
    guard let resolved = unsafe resolved else { throw Errno(rawValue: errno) }
    defer { unsafe free(resolved) }
    return unsafe FilePath(platformString: resolved)
  }
}
