internal import Glibc
internal import Linux
package import SystemPackage

/// Unmounts a mount of this program at a user's wish.
package enum Unmounting {
  /// Why a mount is still there.
  package enum Problem: Error {
    /// No mount is at the path.
    case notMounted
    /// It is a mount of another program, of this type.
    case foreign(String)
    /// An open file, a mapping or a working directory holds it.
    case inUse
    /// Another mount is in it.
    case covered(FilePath)
    /// The user with this ID has mounted it.
    case notOwner(UInt32)
    /// The system's error, as a clause.
    case failed(String)
  }

  /// Unmounts what is topmost at a path, if nobody uses it: umount2(2), or fusermount3(1) for those who may not. It
  /// sends no request to a dead or hanging mount. Waits until the daemon has ended and closed the source, a second at most.
  package static func unmount(_ path: FilePath) throws(Problem) {
    let table: MountTable
    do throws(Errno) {
      table = try MountTable()
    } catch {
      throw .failed("cannot read /proc/self/mountinfo: \(error)")
    }
    guard let mount = find(path, in: table) else { throw .notMounted }
    let daemon = DaemonProcess.serving(mount, among: DaemonProcess.all())
    guard mount.isOwnType || daemon?.devices.contains(mount.device) == true else {
      throw .foreign(mount.type)
    }
    if let inner = table.entries.first(where: { $0.parent == mount.id }) { throw .covered(inner.mountPoint) }
    try unmount(mount)
    // A process of another user is there, too, if kill(2) fails with EPERM.
    guard let id = daemon?.id else { return }
    for _ in 0..<1000 where kill(id, 0) == 0 || errno == EPERM { usleep(1000) }
  }

  private static func unmount(_ mount: MountTable.Entry) throws(Problem) {
    let result = unsafe mount.mountPoint.withPlatformString {
      unsafe umount2($0, Int32(UMOUNT_NOFOLLOW))
    }
    if result == 0 { return }
    switch Errno(rawValue: errno) {
    case .resourceBusy: throw .inUse
    case .notPermitted:
      if let owner = mount.owner, owner.user != geteuid() { throw .notOwner(owner.user) }
      guard Privileges().fusermount != nil else { throw .failed("fusermount3 is not installed") }
      if runFusermount(unmounting: mount.mountPoint, lazily: false) != nil { throw .inUse }
    case let error: throw .failed("umount: \(error)")
    }
  }

  /// The mount at a path. Resolves only the parent directory, since realpath(3) fails on a dead mount. If that finds no mount,
  /// resolves the whole path, for a symbolic link.
  private static func find(_ path: FilePath, in table: MountTable) -> MountTable.Entry? {
    if let name = path.lastComponent, name.kind == .regular {
      if let directory = try? path.parent.withoutLinks(),
        let mount = table.topmost(at: directory.appending(name))
      {
        return mount
      }
    }
    return (try? path.withoutLinks()).flatMap { table.topmost(at: $0) }
  }
}
