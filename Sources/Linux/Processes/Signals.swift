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
    /// Nothing came for the interval asked for.
    case tick
    /// Something was mounted, unmounted or mounted otherwise, anywhere.
    case mountsChanged
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

  /// Calls `handler` with each signal as it comes, with each change of the mount table, and when nothing came for as long
  /// as it returned the last time (nil: for ever), on a thread of its own: signalfd(2), poll(2). False if there can be no
  /// thread or no descriptor. Call ``block()`` first.
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
      // What has changed before anybody watched.
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
          // Where containers start, changes come by the dozen.
          usleep(20_000)
        }
      }
    }
    thread?.detach()
    if thread == nil { close(signals) }
    return thread != nil
  }
}
