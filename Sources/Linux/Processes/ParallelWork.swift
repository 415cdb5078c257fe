internal import CLinux
internal import Synchronization

/// Work on all processors in parallel.
package enum ParallelWork {
  /// More threads than this would only wait for memory and disks.
  private static let most = 16

  /// The number of pieces in progress at a time: the processors that this thread may use, at most 16.
  package static var width: Int { min(most, Int(stmount_processor_count())) }

  private final class State: Sendable {
    let next = Atomic(0)
    let failure = Mutex<(any Error)?>(nil)
  }

  /// Calls `body` with each of `0..<count`, on `width` threads, this one among them, and waits until all have returned. Numbers
  /// are given out in order.
  ///
  /// Once a call has thrown, no new one begins, and the error is rethrown.
  package static func run(
    _ count: Int, width: Int = ParallelWork.width, _ body: @escaping @Sendable (Int) throws -> Void
  ) throws {
    let state = State()
    let work: @Sendable () -> Void = {
      while state.failure.withLock({ $0 == nil }) {
        let index = state.next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard index < count else { return }
        do {
          try body(index)
        } catch {
          state.failure.withLock { $0 = $0 ?? error }
        }
      }
    }
    // If no thread can be started, the existing ones do its work.
    let threads = (1..<max(1, min(width, count))).compactMap { _ in WorkerThread(running: work) }
    work()
    for thread in threads { thread.join() }
    if let failure = state.failure.withLock({ $0 }) { throw failure }
  }

  /// Calls `body` with each element as ``run(_:width:_:)`` does, and returns the results, in the order of the elements.
  package static func map<Element: Sendable, Result: Sendable>(
    _ elements: [Element], width: Int = ParallelWork.width,
    _ body: @escaping @Sendable (Element) throws -> Result
  ) throws -> [Result] {
    let results = Results<Result>()
    try run(elements.count, width: width) { index in
      let result = try body(elements[index])
      results.byIndex.withLock { $0[index] = result }
    }
    return results.byIndex.withLock { byIndex in elements.indices.compactMap { byIndex[$0] } }
  }

  private final class Results<Result: Sendable>: Sendable {
    let byIndex = Mutex<[Int: Result]>([:])
  }
}
