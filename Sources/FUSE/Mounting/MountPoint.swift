internal import Glibc
internal import Linux
package import SystemPackage

/// A directory that is free to be mounted on.
package struct MountPoint: Sendable {
  /// Its absolute path, without symbolic links.
  package let path: FilePath

  /// Checks that a path is a directory and carries no mount; realpath(3), stat(2), proc_pid_mountinfo(5).
  ///
  /// `name` is the path in a form that is safe to print, for the errors. `clearingDead` first takes away a mount of
  /// this program whose daemon is gone, as restarting a service needs it.
  package init(
    checking path: FilePath, shownAs name: String, clearingDead: Bool = false
  ) throws(MountError) {
    if clearingDead { Self.clearDead(path) }
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
      if Self.isDead(self.path) { throw Self.translate(.socketNotConnected, name) }
      throw MountError(
        .mountPoint,
        "mount point \(name) already carries a mount of type \(entry.type); unmount it first: umount \(name)")
    }
  }

  /// True of a FUSE mount whose daemon is gone: ENOTCONN. statvfs(3), because stat(2) of a dead mount still gives what
  /// the kernel remembers.
  static func isDead(_ path: FilePath) -> Bool {
    var status = statvfs()
    return unsafe path.withPlatformString { unsafe statvfs($0, &status) } != 0
      && Errno(rawValue: errno) == .socketNotConnected
  }

  /// Unmounts what is mounted at a path if it is a FUSE mount of this program's and dead: ENOTCONN, umount2(2).
  package static func clearDead(_ path: FilePath) {
    // A dead mount cannot be resolved itself, but the directory it is in can.
    guard let name = path.lastComponent, let parent = try? resolve(parent(of: path)) else { return }
    let path = parent.appending(name)
    guard let entry = try? MountTable().topmost(at: path), entry.type == "fuse.stmount", isDead(path) else {
      return
    }
    if unsafe path.withPlatformString({ unsafe umount2($0, Int32(MNT_DETACH)) }) != 0 {
      _ = runFusermount(unmounting: path, lazily: true)
    }
  }

  private static func parent(of path: FilePath) -> FilePath {
    let parent = path.removingLastComponent()
    return parent.isEmpty ? "." : parent
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
