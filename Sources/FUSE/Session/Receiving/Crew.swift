internal import Linux
internal import Synchronization

/// The threads that answer requests: at first ``base`` of them, and another one whenever all have something to do and one of them
/// is about to wait for a disk or a network. So a slow source holds up its own readers alone.
final class Crew: Sendable {
  /// How many there always are. More than the processors, since a request may wait for a disk.
  static let base = 8
  /// The most, each of which may wait. More would be memory without end: each holds an answer.
  static let most = 256
  /// Of a thread, in bytes. Nothing that answers a request recurses, and eight times eight MiB would be most of what a daemon
  /// asks for.
  static let stackSize = 1 << 20

  private let total = Atomic(base)
  /// Those that receive, or wait until they may.
  private let free = Atomic(base)
  private let work = Mutex<(@Sendable () -> Void)?>(nil)

  /// How many there are.
  var count: Int { total.load(ordering: .acquiring) }

  /// What another thread shall do: to receive until ``isTooLarge``, and then ``leave()``.
  func whenGrowing(_ work: @escaping @Sendable () -> Void) { self.work.withLock { $0 = work } }

  /// The calling thread has a request.
  func begin() { free.wrappingSubtract(1, ordering: .relaxed) }

  /// The calling thread has answered.
  func end() { free.wrappingAdd(1, ordering: .relaxed) }

  /// True if a thread that was started by ``grow()`` is no longer needed.
  var isTooLarge: Bool { free.load(ordering: .relaxed) > Self.base }

  /// The calling thread receives no more, or one could not be started.
  func leave() {
    free.wrappingSubtract(1, ordering: .relaxed)
    total.wrappingSubtract(1, ordering: .releasing)
  }

  /// The calling thread is about to wait: sees to it that another one can receive. A thread that is started by a confined one is
  /// confined too.
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
