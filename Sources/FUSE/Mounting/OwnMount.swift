internal import Glibc
internal import Linux
internal import SystemPackage

/// The mount that a session has made. It can be found after it was moved, and distinguished from every other mount.
///
/// umount2(2) and fusermount3(1) act on the topmost mount at a path. So the mount is looked up in the mount table by its
/// number and its device, and is left alone while another mount is on it, or while its path leads to another mount.
struct OwnMount: Sendable {
  /// Its number in the mount table.
  private let id: Int
  /// Its file system's device number as `MAJOR:MINOR`.
  let device: String
  /// The identity of its root; nil if the mount was covered before it could be read.
  let identity: MountIdentity?

  /// How an attempt to unmount ended.
  enum Outcome: Equatable {
    case unmounted
    /// It is no longer mounted in this process's mount namespace.
    case gone
    /// An open file, a mapping or a working directory holds it.
    case inUse
    /// Another mount is on it or in it, or its path leads to another mount; the text says which.
    case covered(String)
    /// The text says why.
    case failed(String)
  }

  /// Finds the mount that was just made at a path through a connection to /dev/fuse. The path leads to `root`.
  ///
  /// Nil if another mount was made at the path at the same moment, and the kernel does not tell which belongs to which
  /// connection (before Linux 6.16).
  init?(of connection: FileDescriptor, at path: FilePath, root: FileDescriptor?) {
    guard let table = try? MountTable() else { return nil }
    let entry: MountTable.Entry?
    if let device = Self.device(of: connection) {
      let mounts = table.entries.filter { $0.device == device }
      entry = mounts.last { $0.mountPoint == path } ?? mounts.last
    } else {
      let mounts = table.entries.filter { $0.mountPoint == path && $0.type != "autofs" }
      entry = mounts.count == 1 ? mounts[0] : nil
    }
    guard let entry else { return nil }
    id = entry.id
    device = entry.device
    let seen = root.flatMap { MountIdentity($0) }
    identity = seen?.device == entry.device ? seen : nil
  }

  /// The device number of the file system behind a connection: proc_pid_fdinfo(5), Linux 6.16.
  private static func device(of connection: FileDescriptor) -> String? {
    DaemonProcess.fuseDevice(in: TextFile.lines(FilePath("/proc/self/fdinfo/\(connection.rawValue)")))
  }

  /// The mount that this one has covered, or nil. Another command can mount between the check of the mount point and the
  /// mount.
  var predecessor: MountTable.Entry? {
    guard let table = try? MountTable(), let entry = entry(in: table) else { return nil }
    return table.entries.first {
      $0.id == entry.parent && $0.mountPoint == entry.mountPoint && $0.type != "autofs"
    }
  }

  private func entry(in table: MountTable) -> MountTable.Entry? {
    table.entries.first { $0.id == id && $0.device == device }
  }

  // MARK: - Unmounting

  /// Unmounts only this mount; `lazily` even if it is in use. umount2(2), or fusermount3(1) for unprivileged users.
  ///
  /// `isConnected` is true while the session is connected: as long as it is, no other mount can have this one's device number.
  func unmount(lazily isLazy: Bool, isConnected: Bool) -> Outcome {
    var outcome = Outcome.inUse
    // Try again after a mount was made or unmounted elsewhere.
    for _ in 0..<3 where outcome == .inUse {
      let watch = MountTableWatch()
      let entry: MountTable.Entry
      let root: FileDescriptor
      switch find(isConnected: isConnected) {
      case .success(let found): (entry, root) = found
      case .failure(let obstacle): return obstacle.outcome
      }
      // An open descriptor counts as a use of the mount.
      try? root.close()
      outcome = unmountUnused(entry.mountPoint, watch, isLazy: isLazy)
    }
    guard isLazy, outcome == .inUse else { return outcome }
    switch find(isConnected: isConnected) {
    case .success((_, let root)): return detach(root)
    case .failure(let obstacle): return obstacle.outcome
    }
  }

  /// Why the mount cannot be unmounted by its path.
  private struct Obstacle: Error {
    let outcome: Outcome
  }

  /// The mount's line in the mount table, and its root by its path: open(2) with O_PATH, which sends no request.
  /// Another mount on it or in it is an obstacle unless `isShared`.
  private func find(isConnected: Bool, isShared: Bool = false) -> Result<
    (MountTable.Entry, FileDescriptor), Obstacle
  > {
    func obstacle(_ outcome: Outcome) -> Result<(MountTable.Entry, FileDescriptor), Obstacle> {
      .failure(Obstacle(outcome: outcome))
    }
    guard let table = try? MountTable() else {
      return obstacle(.failed("cannot read /proc/self/mountinfo"))
    }
    guard let entry = entry(in: table) else { return obstacle(.gone) }
    if !isShared, let other = table.entries.first(where: { $0.parent == id }) {
      return obstacle(.covered("a mount of type \(other.type) lies on it"))
    }
    guard let root = try? FileDescriptor.openPath(entry.mountPoint) else {
      return obstacle(.covered("its path no longer leads to it"))
    }
    let seen = MountIdentity(root)
    if seen?.device == device, identity == nil || seen == identity {
      // Once disconnected, old kernels may have reused the mount ID and the device number.
      if isConnected || seen?.isUnique == true
        || MountProbe.answer(of: root, ownedBy: entry.owner) == .dead
      {
        return .success((entry, root))
      }
    }
    try? root.close()
    return obstacle(isConnected ? .covered("its path leads to another mount") : .gone)
  }

  /// Unmounts an unused mount in two steps: umount2(2) with MNT_EXPIRE. The first marks the mount, and any use of it clears
  /// the mark. The second unmounts only a marked mount, so a mount that was made at the path meanwhile stays.
  ///
  /// `watch` was made before the path was found to lead to this mount.
  private func unmountUnused(_ path: FilePath, _ watch: MountTableWatch, isLazy: Bool) -> Outcome {
    for _ in 0..<2 {
      if unsafe path.withPlatformString({ unsafe umount2($0, Int32(MNT_EXPIRE)) }) == 0 { return .unmounted }
      switch Errno(rawValue: errno) {
      case .resourceTemporarilyUnavailable where !watch.hasChanged: continue
      case .resourceTemporarilyUnavailable, .resourceBusy: return .inUse
      case .notPermitted:
        guard let problem = runFusermount(unmounting: path, lazily: isLazy) else { return .unmounted }
        return isLazy ? .failed(problem) : .inUse
      case let error: return .failed("umount: \(error)")
      }
    }
    return .inUse
  }

  /// Detaches the mount, even if it is in use: umount2(2) with MNT_DETACH. Consumes the root's descriptor.
  private func detach(_ root: FileDescriptor) -> Outcome {
    let result = unsafe umount2("\(root.entry)", Int32(MNT_DETACH))
    let error = Errno(rawValue: errno)
    try? root.close()
    return result == 0 ? .unmounted : .failed("umount: \(error)")
  }

  // MARK: - Keeping it read-only

  /// Makes the mount and its file system read-only again if somebody has made them writable: mount(2) with MS_REMOUNT.
  /// Returns true if it was needed and done. Throws if it fails: `resourceBusy` while a file is open for writing.
  func restoreReadOnly() throws(Errno) -> Bool {
    let table = try MountTable()
    guard let entry = entry(in: table), !entry.isReadOnly else { return false }
    // Nobody can open a file of the mount unless its path leads to it.
    guard case .success((_, let root)) = find(isConnected: true, isShared: true) else { return false }
    defer { try? root.close() }
    let flags = MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    let result = unsafe mount(nil, "\(root.entry)", nil, UInt(flags), nil)
    if result != 0 { throw Errno(rawValue: errno) }
    return true
  }
}
