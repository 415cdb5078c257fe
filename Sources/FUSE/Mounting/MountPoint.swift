internal import Glibc
internal import Linux
package import SystemPackage

/// A directory that is free to be mounted on.
package struct MountPoint: Sendable {
  /// Its absolute path, without symbolic links.
  package let path: FilePath
  /// The path in a form that is safe to print.
  let name: String

  /// Checks that a path is a directory and carries no mount; realpath(3), stat(2), proc_pid_mountinfo(5).
  ///
  /// A child process probes an existing FUSE mount, so a hanging one cannot block this. `name` is the path in a form that is safe to
  /// print, for the errors.
  package init(checking path: FilePath, shownAs name: String) throws(MountError) {
    self.name = name
    let entry: MountTable.Entry?
    let type: FileType
    var answer = MountProbe.Answer.alive
    do throws(Errno) {
      self.path = try path.withoutLinks()
      entry = try MountTable().topmost(at: self.path)
      type = try entry == nil ? Stat(self.path).type : .directory
      if let entry, entry.isFUSE {
        let root = try FileDescriptor.openPath(self.path)
        defer { try? root.close() }
        answer = MountProbe.answer(of: root, ownedBy: entry.owner)
      }
    } catch {
      throw Self.translate(error, name)
    }
    guard type == .directory else { throw Self.translate(.notDirectory, name) }
    guard let entry else { return }
    switch answer {
    case .alive, .refused: throw isTaken(by: entry)
    case .dead: throw Self.translate(.socketNotConnected, name)
    case .late:
      throw MountError(
        .mountPoint,
        "mount point \(name) already has a mount of type \(entry.type), which does not answer; "
          + "if its daemon never will, unmount it: umount -l \(name)")
    }
  }

  /// The error for a mount point with another mount; nil means a mount that was made at the same moment.
  func isTaken(by other: MountTable.Entry?) -> MountError {
    MountError(
      .mountPoint,
      other.map {
        "mount point \(name) already has a mount of type \($0.type); "
          + ($0.isOwnType ? "unmount it first: umount \(name)" : "name another directory")
      } ?? "two mounts were made on \(name) at the same moment, and both were undone; try again")
  }

  /// Unmounts what is mounted at a path if it is dead (ENOTCONN) and a FUSE mount of one of these subtypes, as `fuse.SUBTYPE`
  /// tells it: umount2(2). A mount that does not answer is not dead.
  package static func clearDead(_ path: FilePath, subtypes: Set<String> = ["stmount"]) {
    // The path of a dead mount cannot be resolved, but its parent directory can.
    guard let name = path.lastComponent, let parent = try? path.parent.withoutLinks() else { return }
    let path = parent.appending(name)
    guard let table = try? MountTable(), let entry = table.topmost(at: path),
      subtypes.contains(where: { entry.type == "fuse.\($0)" }),
      // Detaching would also detach a mount below it.
      !table.entries.contains(where: { $0.parent == entry.id }),
      let root = try? FileDescriptor.openPath(path)
    else { return }
    defer { try? root.close() }
    guard MountProbe.answer(of: root, ownedBy: entry.owner) == .dead else { return }
    // Unmount by descriptor: another command may have cleared the path and mounted there meanwhile.
    let result = unsafe umount2("\(root.entry)", Int32(MNT_DETACH))
    guard result != 0, Errno(rawValue: errno) == .notPermitted else { return }
    // fusermount3 unmounts by path.
    guard let again = try? FileDescriptor.openPath(path) else { return }
    defer { try? again.close() }
    if MountIdentity(again) == MountIdentity(root) { _ = runFusermount(unmounting: path, lazily: true) }
  }

  private static func translate(_ error: Errno, _ name: String) -> MountError {
    switch error {
    case .noSuchFileOrDirectory:
      MountError(.mountPoint, "mount point \(name) does not exist; create it first: mkdir \(name)")
    case .notDirectory:
      MountError(
        .mountPoint,
        "mount point \(name) is not a directory; the last argument is the directory to mount on")
    case .socketNotConnected:
      // The kernel's error for a FUSE mount whose daemon is gone: ENOTCONN.
      MountError(
        .mountPoint,
        "mount point \(name) has a dead mount, whose daemon is gone; clear it first: umount -l \(name) "
          + "(or fusermount3 -u -z \(name))")
    case .permissionDenied, .notPermitted:
      MountError(.notPermitted, "mount point \(name) cannot be reached: \(error)")
    default:
      MountError(.mountPoint, "mount point \(name) cannot be used: \(error)")
    }
  }
}
