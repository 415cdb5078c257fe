internal import CLinux
internal import Glibc

/// The signals that a daemon handles: TERM, INT, HUP and QUIT end it, USR1 requests a report.
package enum Signals {
  /// Why the handler is called.
  package enum Event: Sendable, Equatable {
    /// A signal that asks the daemon to end.
    case end
    /// A signal that requests a report.
    case report
    /// Nothing came during the interval.
    case tick
    /// The mount table changed: a mount, an unmount or a remount anywhere.
    case mountsChanged
  }

  private static let ends = [SIGTERM, SIGINT, SIGHUP, SIGQUIT]

  private static func heeded() -> sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in ends + [SIGUSR1] { unsafe sigaddset(&set, signal) }
    return set
  }

  /// Restores the default of SIGQUIT, which ends the process: signal(2). Swift's runtime takes SIGQUIT for a crash and
  /// continues after a backtrace.
  package static func letQuit() { signal(SIGQUIT, SIG_DFL) }

  /// Blocks the signals in this thread and all threads that it starts: pthread_sigmask(3). Call it before any
  /// thread exists; it unblocks all other signals, which may have been inherited as blocked. SIGPIPE is ignored, as a daemon
  /// must; SIGCHLD is not, since fusermount3 could not be waited for.
  package static func block() {
    var set = heeded()
    unsafe pthread_sigmask(SIG_SETMASK, &set, nil)
    signal(SIGPIPE, SIG_IGN)
    signal(SIGCHLD, SIG_DFL)
  }

  /// Starts a thread that calls `handler` with each signal, with each change of the mount table, and when nothing came for
  /// the time that the last call returned (nil: wait for ever): signalfd(2), poll(2). False if no thread or no descriptor is
  /// available. Call ``block()`` first.
  package static func handle(
    interval: Duration? = nil, _ handler: @escaping @Sendable (Event) -> Duration?
  ) -> Bool {
    var set = heeded()
    let signals = unsafe stmount_signal_descriptor(&set)
    guard signals >= 0 else { return false }
    let thread = WorkerThread {
      let mounts = MountTableWatch()
      var interval = interval
      var due = interval.map { ContinuousClock.now + $0 }
      func tell(_ event: Event) {
        let next = handler(event)
        if next != interval || event == .tick { due = next.map { ContinuousClock.now + $0 } }
        interval = next
      }
      // Changes from before the watch began.
      tell(.mountsChanged)
      while true {
        // A tick is late by less than a millisecond, and never early.
        let milliseconds = due.map { max(0, ($0 - .now) / .milliseconds(1)).rounded(.up) }
        var requests = [pollfd(fd: signals, events: Int16(POLLIN), revents: 0), mounts.request]
        let count = unsafe poll(&requests, 2, milliseconds.map { Int32($0) } ?? -1)
        if count == 0 { tell(.tick) }
        guard count > 0 else { continue }
        switch stmount_next_signal(signals) {
        case SIGUSR1: tell(.report)
        case let signal where ends.contains(signal): tell(.end)
        default: break
        }
        if requests[1].revents != 0 {
          tell(.mountsChanged)
          // When containers start, changes come by the dozen.
          usleep(20_000)
        }
      }
    }
    thread?.detach()
    if thread == nil { close(signals) }
    return thread != nil
  }
}
