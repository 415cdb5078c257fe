import Testing

@testable import FUSE

/// The messages on the left are those of libfuse and fusermount3, 3.10 to 3.17.
@Suite("Why mounting failed, in plain words") struct MountErrorTests {
  private func expect(
    _ message: String, _ kind: MountError.Kind, _ description: String,
    at location: SourceLocation = #_sourceLocation
  ) {
    let error = MountError(failedMount: message)
    #expect(error.kind == kind, sourceLocation: location)
    #expect(error.description == description, sourceLocation: location)
  }

  @Test("allow_other without user_allow_other names the line for /etc/fuse.conf")
  func userAllowOther() {
    for option in ["allow_other", "allow_root"] {
      expect(
        "fusermount3: option \(option) only allowed if 'user_allow_other' is set in /etc/fuse.conf",
        .notPermitted,
        "allow_other and allow_root are not for ordinary users on this machine: add the line "
          + "'user_allow_other' to /etc/fuse.conf")
    }
  }

  @Test("Without fusermount3 the package is named")
  func noFusermount() {
    expect(
      "fuse: failed to exec fusermount3: No such file or directory", .fuseUnavailable,
      "fusermount3 is not installed, and only root can mount without it: install fuse3")
  }

  @Test("Without a FUSE device the ways to one are named")
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

  @Test("A directory that is not the user's own is told apart")
  func noWriteAccess() {
    for message in [
      "fusermount3: user has no write access to mountpoint /mnt",
      "fusermount3: mountpoint /tmp not owned by user",
    ] {
      expect(
        message, .notPermitted,
        "an ordinary user may only mount on a directory that they can write to, and that is theirs where it is "
          + "sticky, as /tmp is")
    }
  }

  @Test("A file system that fusermount3 does not mount on is told apart")
  func forbiddenFileSystem() {
    expect(
      "fusermount3: mounting over filesystem type 0x00009fa0 is forbidden", .mountPoint,
      "an ordinary user may not mount on a directory of this file system; choose one elsewhere")
  }

  @Test("A refusal by the system is quoted, with what usually lies behind it")
  func refused() {
    for message in [
      "fuse: mount failed: Operation not permitted", "fusermount3: mount failed: Permission denied",
      "fuse: failed to open /dev/fuse: Operation not permitted",
    ] {
      expect(
        message, .notPermitted,
        "the system refused to mount (\(message)): a container needs --cap-add SYS_ADMIN --device /dev/fuse, "
          + "and AppArmor or SELinux may forbid it too")
    }
  }

  @Test("Everything else is quoted as it is")
  func others() {
    for message in [
      "fuse: mount failed: Invalid argument",
      "fusermount3: bad mount point /m: No such file or directory",
      "fusermount3: too many FUSE filesystems mounted; mount_max=N can be set in /etc/fuse.conf",
    ] {
      expect(message, .system, "cannot mount: \(message)")
    }
    expect("", .system, "cannot mount: libfuse gave no reason")
  }
}
