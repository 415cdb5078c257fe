import FUSE
import Glibc
import Linux
import Logging
import Models
import Synchronization
import SystemPackage
import TensorFiles

/// Work besides requests: signals, unmounting an idle mount, and ending a mount that would never end.
final class Housekeeping: Sendable {
  private let session: Session
  private let log: Logger
  private let manager: ServiceManager

  private struct State {
    var idle: IdleWatch?
    /// A signal has asked for the end.
    var isEnding = false
    /// The reason why the mount could not be unmounted, as logged last.
    var problem: String?
    /// The requests that were waiting when the end was requested, or at the last check since.
    var waiting: Set<UInt64> = []
    /// The time since which the mount has been writable; nil if it is read-only, as it should be.
    var writableSince: ContinuousClock.Instant?
  }

  private let state: Mutex<State>

  /// How long a request may wait for its source after the end was requested; then it is cut off.
  private static let patience = Duration.seconds(1)

  /// How long a mount may stay writable while root has a file open for writing.
  private static let writableLimit = Duration.seconds(2)

  /// Looks after a session; with `idleLimit`, ends it after that long without a request.
  init(_ session: Session, idleLimit: Duration?, log: Logger, manager: ServiceManager) {
    self.session = session
    self.log = log
    self.manager = manager
    state = Mutex(State(idle: idleLimit.map { IdleWatch(limit: $0) }))
  }

  /// Starts the thread. Call it after mounting, in the process that serves: fork(2) would not copy the thread.
  func start() {
    if !Signals.handle(interval: interval, { [self] event in handle(event) }) {
      log.warning("no thread for signals can be started: end the mount with umount")
    }
  }

  /// How long to wait for the next tick.
  private var interval: Duration? {
    state.withLock { state in
      if state.writableSince != nil {
        .milliseconds(100)
      } else if state.isEnding {
        Self.patience
      } else {
        state.idle?.interval
      }
    }
  }

  private func handle(_ event: Signals.Event) -> Duration? {
    switch event {
    case .end:
      manager.stopping("unmounted; waiting for open files to be closed")
      let waiting = session.requestsUnderWay
      state.withLock { state in
        if !state.isEnding { state.waiting = waiting }
        state.isEnding = true
      }
      detach()
    case .report:
      log.notice("\(session.counts)")
    case .tick:
      if state.withLock({ $0.writableSince != nil }) { keepReadOnly() }
      if state.withLock({ $0.isEnding }) { cutOff() } else { unmountIfIdle() }
    case .mountsChanged:
      keepReadOnly()
      // The mount that covered it may be gone.
      if state.withLock({ $0.isEnding && $0.problem != nil }) { detach() }
    }
    return interval
  }

  private func detach() {
    let problem = session.detach()
    let isNew = state.withLock { state in
      defer { state.problem = problem }
      return state.problem != problem
    }
    if isNew, let problem { log.error("cannot unmount: \(problem); it stays until that can be done") }
  }

  /// Ends the process if a request has waited for its source for too long since the end was requested: the source may
  /// never answer.
  private func cutOff() {
    let waiting = session.requestsUnderWay
    let stuck = state.withLock { state in
      defer { state.waiting = waiting }
      return state.waiting.intersection(waiting).count
    }
    guard stuck > 0, state.withLock({ $0.problem == nil }) else { return }
    log.warning("the source does not answer: \(stuck) reads that wait for it are cut off")
    session.cut()
    // _exit(2), not return: the waiting threads may never end.
    ForkedProcess.endAtOnce(EX_OK)
  }

  /// Makes the mount read-only again if somebody has made it writable.
  private func keepReadOnly() {
    let problem: Errno?
    do throws(Errno) {
      if try session.restoreReadOnly() {
        log.warning("the mount was remounted writable; it is read-only again")
      }
      problem = nil
    } catch {
      problem = error
    }
    let now = ContinuousClock.now
    let (since, isNew) = state.withLock { state in
      let isNew = state.writableSince == nil
      state.writableSince = problem == nil ? nil : state.writableSince ?? now
      return (state.writableSince, isNew)
    }
    guard let problem, let since else { return }
    if isNew { log.error("the mount was made writable, and cannot be made read-only again: \(problem)") }
    guard since.duration(to: now) > Self.writableLimit else { return }
    // Readers would see changes made through a writable mapping as tensor data.
    log.error("the mount ends, because a file of it could still be written to")
    detach()
    session.cut()
    ForkedProcess.endAtOnce(EX_OSERR)
  }

  /// Unmounts after enough time without requests. The kernel answers readers from its caches and opens files without
  /// requests, so only an unmount without force shows whether the mount is in use.
  private func unmountIfIdle() {
    let counts = session.counts
    let isIdle = state.withLock { $0.idle?.isIdle(counts) ?? false }
    if isIdle, session.unmountIfFree() { log.info("unmounting: the mount was idle for --idle-timeout") }
  }
}
