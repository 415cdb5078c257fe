internal import Glibc
internal import Linux
package import SystemPackage

extension MountPoint {
  /// Checks that fusermount3 will let this user mount here: the user can write to the directory, and owns it
  /// if it is sticky. faccessat(2) with AT_EACCESS; fusermount3's check_perm.
  package func checkAccess(_ privileges: Privileges = Privileges()) throws(MountError) {
    guard !privileges.isRoot, !privileges.canMount, let status = try? Stat(path) else { return }
    let isWritable = unsafe path.withPlatformString { unsafe faccessat(AT_FDCWD, $0, W_OK, AT_EACCESS) } == 0
    let isForeign = status.permissions.contains(.saveText) && status.userID.rawValue != geteuid()
    if isWritable, !isForeign { return }
    // What denied it may be a mount that was made meanwhile.
    if let entry = try? MountTable().topmost(at: path) { throw isTaken(by: entry) }
    throw MountError(
      .notPermitted,
      "mount point \(name) belongs to \(Self.userName(status.userID.rawValue)), and this user cannot mount on it: make a "
        + "directory of your own (mkdir -p ~/m), or have root run: chown \(geteuid()) \(name)")
  }

  /// True for a path inside the mount point, which the mount will hide: realpath(3).
  package func contains(_ source: FilePath) -> Bool {
    (try? source.withoutLinks())?.starts(with: path) == true
  }

  private static func userName(_ id: uid_t) -> String {
    if id == 0 { return "root" }
    return "user \(id)"
  }
}
