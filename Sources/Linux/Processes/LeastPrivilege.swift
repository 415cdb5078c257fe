internal import CLinux
internal import Glibc

/// Drops privileges that a process that serves a mount does not need, to limit the damage of a bug.
package enum LeastPrivilege {
  /// Keeps only those of root's capabilities that mounting and unmounting need. Drops the others permanently, for programs that
  /// are started later too: capset(2), prctl(2) with PR_CAPBSET_DROP. No thread may have been started.
  ///
  /// CAP_SYS_ADMIN is needed to mount and unmount. CAP_DAC_READ_SEARCH is needed to read other users' models, and to reach a
  /// mount point in a directory that only its owner can enter, at mount and at unmount.
  ///
  /// Root's process can no longer gain privileges: PR_SET_NO_NEW_PRIVS. Other users' processes must be able to, since the
  /// setuid fusermount3(1) unmounts for them.
  package static func keepMounting() {
    let kept: UInt64 = 1 << CAP_SYS_ADMIN | 1 << CAP_DAC_READ_SEARCH
    _ = stmount_keep_capabilities(kept)
    if geteuid() == 0 { stmount_gain_no_privileges() }
    // Nothing is written; should that change, other users must not be able to read it.
    umask(0o077)
  }

  /// Drops the right of the calling thread, and of threads that it starts, to open files and to gain privileges:
  /// landlock(7), if the kernel has it, and PR_SET_NO_NEW_PRIVS.
  ///
  /// For threads that answer requests. The thread that unmounts cannot be confined: Landlock forbids umount(2) altogether.
  ///
  /// False if the kernel lacks Landlock, or has it disabled.
  @discardableResult
  package static func confineThread() -> Bool {
    stmount_gain_no_privileges()
    return stmount_deny_files() == 0
  }
}
