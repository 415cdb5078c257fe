internal import CLinux
internal import Glibc
package import SystemPackage

/// A process that goes on in the background.
package enum ForkedProcess {
  /// Splits the process and returns the new one's id: fork(2). The new one goes on with `body`, ends with what that returns,
  /// and has ``Signals/block()`` behind it. No thread may have been started.
  ///
  /// `body` has a thread of its own. Swift's locks tell threads by a number that each remembers, and the first thread of the
  /// new process would remember the old one's: who waited for a lock that it holds would wait for ever, the kernel not knowing
  /// for whom (futex(2) with FUTEX_LOCK_PI; Swift 6.3).
  package static func start(_ body: @escaping @Sendable () -> Int32) throws(Errno) -> Int32 {
    let id = stmount_fork()
    if id < 0 { throw Errno(rawValue: errno) }
    if id > 0 { return id }
    Signals.block()
    let thread = WorkerThread { exit(body()) }
    thread?.join()
    // There was no thread to be had. Whoever serves needs more of them, and says so.
    exit(body())
  }

  /// Ends this process at once, whatever its threads wait for and whether or not the file systems of its open files answer:
  /// _exit(2). Nothing is cleaned up.
  package static func endAtOnce(_ status: Int32) -> Never {
    stmount_leave_files()
    _exit(status)
  }

  /// Goes into a session of its own, with `/` as its working directory: setsid(2), chdir(2).
  ///
  /// Not before the file system is mounted: an automounter knows the processes that may pass its trigger by their process
  /// group, and would wait for this one otherwise, which waits for it: autofs(5).
  package static func leaveTerminal() {
    setsid()
    _ = unsafe chdir("/")
  }

  /// Waits for a child's end: waitpid(2). Its exit status, or 128 and the number of the signal that ended it; nil if it
  /// does not end within two seconds, as one that waits for a disk may do even after SIGKILL.
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
