internal import CLinux
internal import Glibc
package import SystemPackage

/// A process that continues in the background.
package enum ForkedProcess {
  /// Forks the process and returns the child's id: fork(2). The child calls ``Signals/block()``, runs `body`, and ends with the
  /// result of `body` as its status. No thread may have been started.
  ///
  /// `body` runs on a new thread. Swift's locks identify threads by a number that each thread caches, and the first thread of
  /// the child still has the parent's number. A thread that waited for a lock held by it would wait for ever, since the kernel
  /// does not know the owner (futex(2) with FUTEX_LOCK_PI; Swift 6.3).
  package static func start(_ body: @escaping @Sendable () -> Int32) throws(Errno) -> Int32 {
    let id = stmount_fork()
    if id < 0 { throw Errno(rawValue: errno) }
    if id > 0 { return id }
    Signals.block()
    let thread = WorkerThread { exit(body()) }
    thread?.join()
    // No thread could be started. Serving needs more threads, and reports that.
    exit(body())
  }

  /// Ends this process at once, whatever its threads wait for, and even if the file systems of its open files do not answer:
  /// _exit(2). Nothing is cleaned up.
  package static func endAtOnce(_ status: Int32) -> Never {
    stmount_leave_files_to_child()
    _exit(status)
  }

  /// Starts a new session, with `/` as the working directory: setsid(2), chdir(2).
  ///
  /// Call it only after the mount: an automounter identifies the processes that may pass its trigger by their process group.
  /// Otherwise it would wait for this process, which waits for it: autofs(5).
  package static func leaveTerminal() {
    setsid()
    _ = unsafe chdir("/")
  }

  /// Waits for a child's end: waitpid(2). Returns its exit status, or 128 plus the number of the signal that ended it; nil if
  /// it does not end within two seconds. A child that waits for a disk may not end even after SIGKILL.
  package static func exitStatus(of child: Int32) -> Int32? {
    for _ in 0..<100 {
      var status: Int32 = 0
      if unsafe waitpid(child, &status, WNOHANG) == child {
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + (status & 0x7F)
      }
      usleep(20_000)
    }
    return nil
  }
}
