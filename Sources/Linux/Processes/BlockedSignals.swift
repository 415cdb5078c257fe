internal import CLinux
import Glibc

/// A signal that ends the command, once it has cleaned up.
package struct Interruption: Error {
  package let signal: CInt

  /// Ends the command by the signal itself, so that a shell sees it.
  package func end() -> Never {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, signal)
    Glibc.signal(signal, SIG_DFL)
    unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
    raise(signal)
    exit(128 + signal)
  }
}

/// All signals that would end the command and can be blocked, blocked while files are written.
///
/// The command checks for them where it can stop. So there is one exit path for all reasons, and no handler interrupts
/// other code.
package struct BlockedSignals: Sendable {
  private let set: sigset_t

  /// Signals that by default are ignored, or stop or continue a process: signal(7).
  private static let harmless = [SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH]

  /// Blocks the signals, except those that the parent set to be ignored: nohup(1).
  package init() {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in 1...(64 as CInt) where !Self.harmless.contains(signal) && signal != SIGXFSZ {
      var action = sigaction()
      unsafe sigaction(signal, nil, &action)
      // SIG_IGN is not a function, but the address 1.
      let handler = unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      if handler != 1 { unsafe sigaddset(&set, signal) }
    }
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    // So that a limit on the size of files is an error of write(2) like any other.
    Glibc.signal(SIGXFSZ, SIG_IGN)
    self.set = set
  }

  /// Throws if a signal is pending: sigtimedwait(2), without waiting.
  package func check() throws(Interruption) {
    var set = set
    var timeout = timespec()
    let signal = unsafe sigtimedwait(&set, nil, &timeout)
    if signal > 0 { throw Interruption(signal: signal) }
  }
}
