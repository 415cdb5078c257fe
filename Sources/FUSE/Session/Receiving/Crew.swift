internal import Linux
internal import Synchronization

/// The threads that answer requests: at first ``base`` of them, and another one whenever all are busy and one of them is about to
/// wait for a disk or a network. So a slow source delays only its own readers.
final class Crew: Sendable {
  /// The minimum number of threads. More than the processors, since a request may wait for a disk.
  static let base = 4
  /// The maximum number of threads. Each may hold a reply buffer, so this bounds memory.
  static let most = 256
  /// A thread's stack size in bytes. Handlers do not recurse, and the default of 8 MiB would dominate the address space.
  static let stackSize = 1 << 20

  private let total = Atomic(base)
  /// How many threads receive, or wait for their turn.
  private let free = Atomic(base)
  private let work = Mutex<(@Sendable () -> Void)?>(nil)

  /// How many there are.
  var count: Int { total.load(ordering: .acquiring) }

  /// Sets what additional threads run: they receive until ``isTooLarge``, and then call ``leave()``.
  func whenGrowing(_ work: @escaping @Sendable () -> Void) { self.work.withLock { $0 = work } }

  /// The calling thread has a request.
  func begin() { free.wrappingSubtract(1, ordering: .relaxed) }

  /// The calling thread has answered.
  func end() { free.wrappingAdd(1, ordering: .relaxed) }

  /// True if a thread that was started by ``grow()`` is no longer needed.
  var isTooLarge: Bool { free.load(ordering: .relaxed) > Self.base }

  /// The calling thread stops receiving, or a thread could not be started.
  func leave() {
    free.wrappingSubtract(1, ordering: .relaxed)
    total.wrappingSubtract(1, ordering: .releasing)
  }

  /// Call before blocking: starts a thread if none is free. It inherits the caller's Landlock rules.
  func grow() {
    guard free.load(ordering: .relaxed) <= 0, let work = work.withLock({ $0 }) else { return }
    guard total.wrappingAdd(1, ordering: .relaxed).newValue <= Self.most else {
      total.wrappingSubtract(1, ordering: .relaxed)
      return
    }
    free.wrappingAdd(1, ordering: .relaxed)
    if let thread = WorkerThread(stackSize: Self.stackSize, running: work) {
      thread.detach()
    } else {
      leave()
    }
  }
}
