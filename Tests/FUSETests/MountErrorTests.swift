import SystemPackage
import Testing

@testable import FUSE
import Linux

/// The messages on the left are those of libfuse and fusermount3, 3.10 to 3.17.
@Suite("Why mounting failed, in plain words") struct MountErrorTests {
  private func expect(
    _ message: String, _ kind: MountError.Kind, _ description: String, _ privileges: Privileges = Self.user,
    at location: SourceLocation = #_sourceLocation
  ) {
    let error = MountError(failedMount: message, privileges)
    #expect(error.kind == kind, sourceLocation: location)
    #expect(error.description == description, sourceLocation: location)
  }

  /// A machine without problems, and an unprivileged user.
  private static var user: Privileges {
    var user = Privileges()
    user.isRoot = false
    user.canMount = false
    user.hasNoNewPrivileges = false
    user.isFiltered = false
    user.profile = nil
    user.fusermount = "/usr/bin/fusermount3"
    user.isFusermountSetuid = true
    return user
  }

  @Test("allow_other without user_allow_other names the line for /etc/fuse.conf")
  func userAllowOther() {
    for option in ["allow_other", "allow_root"] {
      expect(
        "fusermount3: option \(option) only allowed if 'user_allow_other' is set in /etc/fuse.conf",
        .notPermitted,
        "allow_other and allow_root are not permitted for unprivileged users: add the line "
          + "'user_allow_other' to /etc/fuse.conf")
    }
  }

  @Test("Without fusermount3 the package is named")
  func noFusermount() {
    for message in [
      "fuse: failed to exec fusermount3: No such file or directory",
      "On calling fusermount posix_spawn failed: No such file or directory; "
        + "posix_spawn(p)() for fusermount3 failed: No such file or directory",
    ] {
      expect(
        message, .fuseUnavailable,
        "fusermount3 is not installed, and only root can mount without it: install fuse3")
    }
  }

  @Test("Without a FUSE device, the error names the ways to get one")
  func noDevice() {
    for message in [
      "fuse: device not found, try 'modprobe fuse' first",
      "fusermount3: fuse device not found, try 'modprobe fuse' first",
    ] {
      expect(
        message, .fuseUnavailable,
        "this machine has no FUSE device: load the module (modprobe fuse), or give the container /dev/fuse "
          + "(docker run --device /dev/fuse --cap-add SYS_ADMIN)")
    }
  }

  @Test("A directory of another user has an error of its own")
  func noWriteAccess() {
    for message in [
      "fusermount3: user has no write access to mountpoint /mnt",
      "fusermount3: mountpoint /tmp not owned by user",
    ] {
      expect(
        message, .notPermitted,
        "unprivileged users can only mount on a directory that they can write to; in a sticky directory such as "
          + "/tmp, only on their own")
    }
  }

  @Test("A file system that fusermount3 does not mount on has an error of its own")
  func forbiddenFileSystem() {
    expect(
      "fusermount3: mounting over filesystem type 0x00009fa0 is forbidden", .mountPoint,
      "unprivileged users cannot mount on a directory of this file system; choose one elsewhere")
  }

  @Test("An unexplained refusal by the system is quoted")
  func refused() {
    for message in [
      "fuse: mount failed: Operation not permitted", "fusermount3: mount failed: Permission denied",
      "fuse: failed to open /dev/fuse: Operation not permitted",
    ] {
      expect(
        message, .notPermitted,
        "the system refused to mount (\(message)): AppArmor or SELinux may forbid it, see 'dmesg'")
    }
  }

  @Test("Root without the capability to mount is told how to start the container")
  func container() {
    var root = Self.user
    root.isRoot = true
    for message in [
      "fusermount3: mount failed: Operation not permitted",
      "fuse: failed to exec fusermount3: No such file or directory",
    ] {
      expect(
        message, .notPermitted,
        "root is not permitted to mount here: give the container CAP_SYS_ADMIN "
          + "(docker run --cap-add SYS_ADMIN --device /dev/fuse)", root)
    }
  }

  @Test("Each of AppArmor, no_new_privs, a lost setuid bit and seccomp has a sentence of its own")
  func refusers() {
    let message = "fusermount3: mount failed: Operation not permitted"
    var confined = Self.user
    confined.profile = "docker-default"
    expect(
      message, .notPermitted,
      "the AppArmor profile docker-default forbids mounting: start the container with "
        + "--security-opt apparmor=unconfined, or allow 'mount fstype=fuse.*' in the profile", confined)
    var withheld = Self.user
    withheld.hasNoNewPrivileges = true
    expect(
      message, .notPermitted,
      "this process cannot gain privileges, so the setuid fusermount3 cannot mount for it: start it "
        + "without NoNewPrivileges= (systemd) or no-new-privileges (containers), or mount as root", withheld)
    var lost = Self.user
    lost.isFusermountSetuid = false
    expect(
      message, .notPermitted,
      "fusermount3 cannot mount for unprivileged users: make it setuid root "
        + "(chown root /usr/bin/fusermount3 and chmod u+s, as root)", lost)
    var filtered = Self.user
    filtered.isFiltered = true
    expect(
      message, .notPermitted,
      "a filter on system calls forbids mounting: start the container with --cap-add SYS_ADMIN, or "
        + "--security-opt seccomp=unconfined", filtered)
  }

  @Test("The limit on the number of mounts is named")
  func tooMany() {
    expect(
      "fusermount3: too many FUSE filesystems mounted; mount_max=N can be set in /etc/fuse.conf",
      .notPermitted,
      "the limit of FUSE mounts for unprivileged users is reached: raise mount_max in /etc/fuse.conf, "
        + "or unmount some")
  }

  @Test("Every other error is quoted as it is")
  func others() {
    for message in [
      "fuse: mount failed: Invalid argument",
      "fusermount3: bad mount point /m: No such file or directory",
    ] {
      expect(message, .system, "cannot mount: \(message)")
    }
    expect("", .system, "cannot mount: libfuse gave no reason")
  }
}
