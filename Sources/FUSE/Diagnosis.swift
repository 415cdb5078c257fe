internal import CFuse
internal import Glibc
internal import SystemPackage

/// Why mounting fails on this machine, in words of our own: libfuse's and fusermount3's assume much.
extension Session {
  /// Checks that the FUSE device can be opened, as mounting will: fuse(4).
  func checkDevice() throws(MountError) {
    do throws(Errno) {
      let device = try openDevice()
      try? device.close()
    } catch {
      switch error {
      case .noSuchFileOrDirectory, .noSuchAddressOrDevice, Errno(rawValue: ENODEV):
        throw MountError.noDevice
      case .permissionDenied, .notPermitted:
        throw MountError(
          .notPermitted,
          "this user may not open /dev/fuse: it should have mode 0666 (chmod 666 /dev/fuse, as root)")
      default:
        throw MountError(.fuseUnavailable, "cannot open /dev/fuse: \(error)")
      }
    }
  }

  private func openDevice() throws(Errno) -> FileDescriptor {
    do {
      return try FileDescriptor.open(FilePath("/dev/fuse"), .readWrite, options: .closeOnExec)
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}

extension MountError {
  fileprivate static let noDevice = MountError(
    .fuseUnavailable,
    "this machine has no FUSE device: load the module (modprobe fuse), or give the container "
      + "/dev/fuse (docker run --device /dev/fuse --cap-add SYS_ADMIN)")

  /// An error from what libfuse and fusermount3 wrote while they failed to mount.
  init(failedMount messages: String) {
    func says(_ words: String) -> Bool { messages.contains(words) }
    if says("user_allow_other") {
      self.init(
        .notPermitted,
        "allow_other and allow_root are not for ordinary users on this machine: add the line "
          + "'user_allow_other' to /etc/fuse.conf")
    } else if says("exec fusermount3") {
      // The reason is not always that it is missing: a directory of PATH out of reach counts more for execvp(3).
      self.init(
        .fuseUnavailable, "fusermount3 is not installed, and only root can mount without it: install fuse3")
    } else if says("device not found") {
      self = .noDevice
    } else if says("no write access to mountpoint") || says("not owned by user") {
      self.init(
        .notPermitted,
        "an ordinary user may only mount on a directory that they can write to, and that is theirs where it is "
          + "sticky, as /tmp is")
    } else if says("mounting over filesystem type") {
      self.init(
        .mountPoint, "an ordinary user may not mount on a directory of this file system; choose one elsewhere"
      )
    } else if says("Operation not permitted") || says("Permission denied") {
      self.init(
        .notPermitted,
        "the system refused to mount (\(messages)): a container needs --cap-add SYS_ADMIN --device /dev/fuse, "
          + "and AppArmor or SELinux may forbid it too")
    } else {
      self.init(.system, "cannot mount: \(messages.isEmpty ? "libfuse gave no reason" : messages)")
    }
  }
}
