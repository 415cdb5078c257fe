internal import CFuse
internal import Glibc
internal import SystemPackage

/// Why mounting fails on this machine. Own messages, because those of libfuse and fusermount3 assume much knowledge.
extension MountError {
  fileprivate static let noDevice = MountError(
    .fuseUnavailable,
    "this machine has no FUSE device: load the module (modprobe fuse), or give the container "
      + "/dev/fuse (docker run --device /dev/fuse --cap-add SYS_ADMIN)")

  /// An error from the output of libfuse and fusermount3 when they failed to mount.
  init(failedMount messages: String, _ privileges: Privileges) {
    func says(_ words: String) -> Bool { messages.contains(words) }
    if says("user_allow_other") {
      self.init(
        .notPermitted,
        "allow_other and allow_root are not permitted for unprivileged users: add the line "
          + "'user_allow_other' to /etc/fuse.conf")
    } else if says("mount_max") {
      self.init(
        .notPermitted,
        "the limit of FUSE mounts for unprivileged users is reached: raise mount_max in /etc/fuse.conf, "
          + "or unmount some")
    } else if says("exec fusermount3") || says("for fusermount3 failed") {  // until libfuse 3.16, and since
      if privileges.isRoot && !privileges.canMount {
        // libfuse tries fusermount3 after the kernel has refused, but it could not have helped.
        self.init(.notPermitted, Self.refusal(privileges, messages))
        return
      }
      // It is not always missing: an inaccessible directory in PATH takes precedence for execvp(3).
      self.init(
        .fuseUnavailable,
        "fusermount3 is not installed, and only root can mount without it: install fuse3"
          + (privileges.hasOldFusermount ? "; the fusermount that is here belongs to FUSE 2" : ""))
    } else if says("device not found") {
      self = .noDevice
    } else if says("no write access to mountpoint") || says("not owned by user") {
      self.init(
        .notPermitted,
        "unprivileged users can only mount on a directory that they can write to; in a sticky directory such as "
          + "/tmp, only on their own")
    } else if says("mounting over filesystem type") {
      self.init(
        .mountPoint,
        "unprivileged users cannot mount on a directory of this file system; choose one elsewhere"
      )
    } else if says("Operation not permitted") || says("Permission denied") {
      self.init(.notPermitted, Self.refusal(privileges, messages))
    } else {
      self.init(.system, "cannot mount: \(messages.isEmpty ? "libfuse gave no reason" : messages)")
    }
  }

  /// Why the kernel has refused to mount for this process, and the remedy.
  static func refusal(_ privileges: Privileges, _ messages: String) -> String {
    if privileges.isRoot && !privileges.canMount {
      return "root is not permitted to mount here: give the container CAP_SYS_ADMIN "
        + "(docker run --cap-add SYS_ADMIN --device /dev/fuse)"
    }
    if let profile = privileges.profile {
      return "the AppArmor profile \(profile) forbids mounting: start the container with "
        + "--security-opt apparmor=unconfined, or allow 'mount fstype=fuse.*' in the profile"
    }
    if !privileges.isRoot && privileges.hasNoNewPrivileges {
      return
        "this process cannot gain privileges, so the setuid fusermount3 cannot mount for it: start it "
        + "without NoNewPrivileges= (systemd) or no-new-privileges (containers), or mount as root"
    }
    if !privileges.isRoot && !privileges.isFusermountSetuid {
      return "fusermount3 cannot mount for unprivileged users: make it setuid root "
        + "(chown root \(privileges.fusermount.map { "\($0)" } ?? "fusermount3") and chmod u+s, as root)"
    }
    if privileges.isFiltered {
      return "a filter on system calls forbids mounting: start the container with --cap-add SYS_ADMIN, or "
        + "--security-opt seccomp=unconfined"
    }
    return "the system refused to mount (\(messages)): AppArmor or SELinux may forbid it, see 'dmesg'"
  }
}

/// The device through which a FUSE daemon talks to the kernel: fuse(4).
package enum FUSEDevice {
  /// Checks that the device can be opened, as mounting will: open(2).
  package static func check() throws(MountError) {
    do throws(Errno) {
      try open()
    } catch {
      switch error {
      case .noSuchFileOrDirectory:
        throw MountError.noDevice
      case .noSuchAddressOrDevice, Errno(rawValue: ENODEV):
        throw MountError(
          .fuseUnavailable, "/dev/fuse exists, but the kernel has no FUSE: load the module (modprobe fuse)")
      case .permissionDenied:
        throw MountError(
          .notPermitted,
          "this user is not permitted to open /dev/fuse: give it mode 0666 (chmod 666 /dev/fuse, as root)")
      case .notPermitted:
        throw MountError(
          .notPermitted,
          "this container is not permitted to open /dev/fuse: start it with --device /dev/fuse (systemd: "
            + "DeviceAllow=/dev/fuse rw)")
      default:
        throw MountError(.fuseUnavailable, "cannot open /dev/fuse: \(error)")
      }
    }
  }

  private static func open() throws(Errno) {
    do {
      try FileDescriptor.open(FilePath("/dev/fuse"), .readWrite, options: .closeOnExec).close()
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}
