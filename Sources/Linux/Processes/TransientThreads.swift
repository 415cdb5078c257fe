internal import Synchronization

/// Threads for work that waits for disks and networks. Each lives only as long as there is work, so nobody has to stop them.
package final class TransientThreads: Sendable {
  /// Of a thread, in bytes.
  private static let stackSize = 256 << 10

  private struct State {
    var waiting: [@Sendable () -> Void] = []
    var running = 0
  }
  private let state = Mutex(State())
  private let most: Int
  private let mostWaiting: Int

  /// At most `most` threads, for which at most `mostWaiting` jobs wait.
  package init(most: Int, mostWaiting: Int) {
    self.most = most
    self.mostWaiting = mostWaiting
  }

  /// Runs a job on one of the threads, after those that were given before. It is dropped where too many wait, and where there
  /// can be no thread.
  package func run(_ job: @escaping @Sendable () -> Void) {
    let starts = state.withLock { state in
      guard state.waiting.count < mostWaiting else { return false }
      state.waiting.append(job)
      guard state.running < most else { return false }
      state.running += 1
      return true
    }
    guard starts else { return }
    if let thread = WorkerThread(stackSize: Self.stackSize, running: { [self] in work() }) {
      thread.detach()
      return
    }
    state.withLock { state in
      state.running -= 1
      if state.running == 0 { state.waiting = [] }
    }
  }

  private func work() { while let job = next() { job() } }

  private func next() -> (@Sendable () -> Void)? {
    state.withLock { state in
      if !state.waiting.isEmpty { return state.waiting.removeFirst() }
      state.running -= 1
      return nil
    }
  }
}
