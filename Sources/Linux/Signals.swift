internal import CLinux
internal import Glibc

/// The signals that a daemon heeds: TERM, INT, HUP and QUIT end it, USR1 asks it to report.
package enum Signals {
  /// Why the handler is called.
  package enum Event: Sendable, Equatable {
    /// A signal that asks the daemon to end.
    case end
    /// A signal that asks what has been done so far.
    case report
    /// No signal came for the interval asked for.
    case tick
  }

  private static let ends = [SIGTERM, SIGINT, SIGHUP, SIGQUIT]

  private static func heeded() -> sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in ends + [SIGUSR1] { unsafe sigaddset(&set, signal) }
    return set
  }

  /// Has SIGQUIT end the process, as it would without Swift's runtime, which takes it for a crash and goes on after
  /// a backtrace: signal(2).
  package static func letQuit() { signal(SIGQUIT, SIG_DFL) }

  /// Keeps the signals waiting, in this thread and all that it starts: pthread_sigmask(3). Call before any
  /// thread exists; whatever was inherited as blocked is not any more. SIGPIPE is ignored, as a daemon must;
  /// SIGCHLD is not, which would leave nothing to wait for of fusermount3.
  package static func block() {
    var set = heeded()
    unsafe pthread_sigmask(SIG_SETMASK, &set, nil)
    signal(SIGPIPE, SIG_IGN)
    signal(SIGCHLD, SIG_DFL)
  }

  /// Calls `handler` with each signal as it comes, and whenever none came for `interval`, on a thread of its own:
  /// sigtimedwait(2). False where there can be no thread. Call ``block()`` first.
  package static func handle(
    interval: Duration? = nil, _ handler: @escaping @Sendable (Event) -> Void
  ) -> Bool {
    // Without an interval a tick would only be ignored; one an hour costs nothing.
    let (seconds, attoseconds) = (interval ?? .seconds(3600)).components
    let thread = WorkerThread {
      var set = heeded()
      var timeout = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
      while true {
        switch unsafe sigtimedwait(&set, nil, &timeout) {
        case SIGUSR1: handler(.report)
        case let signal where ends.contains(signal): handler(.end)
        default:
          if errno == EAGAIN { handler(.tick) } else if errno != EINTR { return }
        }
      }
    }
    thread?.detach()
    return thread != nil
  }
}
