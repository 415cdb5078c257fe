internal import Glibc

/// The signals that ask a daemon to end: TERM, INT and HUP.
public enum Signals {
  private static func ending() -> sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in [SIGTERM, SIGINT, SIGHUP] { unsafe sigaddset(&set, signal) }
    return set
  }

  /// Keeps the signals waiting, in this thread and all that it starts: pthread_sigmask(3). Call before any
  /// thread exists; whatever was inherited as blocked is not any more. SIGPIPE is ignored, as a daemon must.
  public static func block() {
    var set = ending()
    unsafe pthread_sigmask(SIG_SETMASK, &set, nil)
    signal(SIGPIPE, SIG_IGN)
  }

  /// Calls `handler` with each signal's number as it comes, on a thread of its own: sigwait(3). False where
  /// there can be no thread. Call ``block()`` first.
  public static func handle(_ handler: @escaping @Sendable (Int32) -> Void) -> Bool {
    let thread = WorkerThread {
      var set = ending()
      var number: Int32 = 0
      while unsafe sigwait(&set, &number) == 0 { handler(number) }
    }
    thread?.detach()
    return thread != nil
  }
}
