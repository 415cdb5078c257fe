import FUSE
import Linux
import Logging
import Models
import Synchronization
import TensorFiles

/// What happens beside the requests: signals, and the end of a mount that nobody uses.
final class Housekeeping: Sendable {
  private let session: Session
  private let log: Logger
  private let manager: ServiceManager
  private let idle: Mutex<IdleWatch?>

  /// Looks after a session; with `idleLimit`, ends it after that long without a request.
  init(_ session: Session, idleLimit: Duration?, log: Logger, manager: ServiceManager) {
    self.session = session
    self.log = log
    self.manager = manager
    idle = Mutex(idleLimit.map { IdleWatch(limit: $0) })
  }

  /// Begins, on a thread of its own. After the mount, and not before the process has forked.
  func start() {
    let interval = idle.withLock { $0?.interval }
    if !Signals.handle(interval: interval, { [self] event in handle(event) }) {
      log.warning("no thread for signals can be had: end the mount with umount")
    }
  }

  private func handle(_ event: Signals.Event) {
    switch event {
    case .end:
      manager.stopping("unmounted; waiting for open files to be closed")
      if let problem = session.detach() { log.error("cannot unmount: \(problem)") }
    case .report:
      log.notice("\(session.counts)")
    case .tick:
      unmountIfIdle()
    }
  }

  /// Unmounts after enough silence. The kernel answers readers from its caches and opens files without asking, so
  /// that silence alone does not say that nobody is there; only an unmount that is not forced does.
  private func unmountIfIdle() {
    let counts = session.counts
    let isIdle = idle.withLock { $0?.isIdle(counts) ?? false }
    if isIdle, session.unmountIfFree() { log.info("nobody has used the mount for long enough") }
  }
}
