internal import CLinux
internal import Glibc

/// Gives up what a process that serves a mount does not need, so that a mistake in it is of little use.
package enum LeastPrivilege {
  /// Keeps of root's capabilities those that mounting and unmounting take, and gives up the others for good, also for the
  /// programs that are started later: capset(2), prctl(2) with PR_CAPBSET_DROP. No thread may have been started.
  ///
  /// CAP_SYS_ADMIN mounts and unmounts. CAP_DAC_READ_SEARCH reads other people's models, and reaches a mount point in a
  /// directory that is closed to all but its owner, when it is mounted and when it is unmounted.
  ///
  /// Root may gain no privileges any more: PR_SET_NO_NEW_PRIVS. Others must, since the setuid fusermount3(1) unmounts for
  /// them.
  package static func keepMounting() {
    let kept: UInt64 = 1 << CAP_SYS_ADMIN | 1 << CAP_DAC_READ_SEARCH
    _ = stmount_keep_capabilities(kept)
    if geteuid() == 0 { stmount_gain_no_privileges() }
    // Nothing is written; should that ever change, then not for everybody.
    umask(0o077)
  }

  /// Takes from the calling thread, and from those that it starts, the right to open anything and to gain privileges:
  /// landlock(7), where the kernel has it, PR_SET_NO_NEW_PRIVS.
  ///
  /// For threads that answer requests. The one that unmounts cannot be confined so: Landlock forbids umount(2) altogether.
  ///
  /// False if the kernel does not know it, or has it switched off.
  @discardableResult
  package static func confineThread() -> Bool {
    stmount_gain_no_privileges()
    return stmount_deny_files() == 0
  }
}
