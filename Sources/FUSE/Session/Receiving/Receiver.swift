internal import Glibc
internal import Synchronization

/// Decides which workers receive: one at a time while polling for the next request pays, otherwise all of them.
///
/// The one that receives alone polls after each answer, and so saves two wake-ups for each request. It passes on before it
/// does anything that takes long, if another request is already waiting, and if polling failed. Then all workers
/// receive, as in a plain loop, for as many requests and as long as ``BackOff`` says.
@safe final class Receiver: @unchecked Sendable {
  /// Held by the worker that receives alone, and unlocked by the same one: pthread_mutex_lock(3). `Mutex` cannot be held
  /// beyond a closure.
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  /// The thread that holds the lock, or 0.
  private let holder = Atomic<UInt>(0)
  /// How many of the next requests all workers receive. Below 1 none.
  private let sharedRequests = Atomic<Int>(0)
  /// All workers also receive until this time, in nanoseconds.
  private let sharedUntil = Atomic<Int>(0)
  /// How many workers are in read(2), or about to be.
  private let receiving = Atomic<Int>(0)

  /// Only the holder of the lock uses these two.
  private var backOff = BackOff()
  private let polling: Polling

  init(polling: Polling = Polling()) {
    self.polling = polling
    unsafe lock.initialize(to: pthread_mutex_t())
    unsafe pthread_mutex_init(lock, nil)
  }

  deinit {
    unsafe pthread_mutex_destroy(lock)
    unsafe lock.deallocate()
  }

  /// True if the other workers wait for the calling one to pass on.
  var isHeld: Bool { holder.load(ordering: .relaxed) == UInt(pthread_self()) }

  private var isShared: Bool {
    sharedRequests.load(ordering: .relaxed) > 0 || polling.now() < sharedUntil.load(ordering: .relaxed)
  }

  /// Waits until the calling thread may receive a request.
  func wait() {
    if isHeld || isShared { return }
    unsafe pthread_mutex_lock(lock)
    holder.store(UInt(pthread_self()), ordering: .relaxed)
  }

  /// Receives a request by `body`.
  func receive(_ body: () -> Int32) -> Int32 {
    receiving.wrappingAdd(1, ordering: .relaxed)
    defer { receiving.wrappingSubtract(1, ordering: .relaxed) }
    return body()
  }

  /// The calling thread has received a request. Another one is waiting if `isRequestWaiting` says so.
  func begin(_ isRequestWaiting: () -> Bool) {
    if isShared {
      sharedRequests.wrappingSubtract(1, ordering: .relaxed)
      release()
    } else if isHeld, isRequestWaiting() {
      passOn(for: backOff.grow())
    }
  }

  /// Lets others receive. Call before waiting for a disk or a network.
  func passOn() {
    guard isHeld else { return }
    passOn(for: backOff.double())
  }

  private func passOn(for requests: Int) {
    sharedRequests.store(requests, ordering: .relaxed)
    release()
  }

  /// The calling thread has answered its request: it polls for the next one, unless others receive. As long as some are
  /// still in read(2), the kernel gives requests to them, and polling would be useless.
  func poll(_ isRequestWaiting: () -> Bool) {
    guard isHeld, receiving.load(ordering: .relaxed) == 0 else { return }
    guard let lost = polling.timeLost(until: isRequestWaiting) else { return backOff.shrink() }
    sharedUntil.store(polling.now() + backOff.pause(after: lost), ordering: .relaxed)
    passOn(for: backOff.grow())
  }

  /// Gives up the lock without back-off: at the thread's end, and when all workers receive.
  func release() {
    guard isHeld else { return }
    holder.store(0, ordering: .relaxed)
    unsafe pthread_mutex_unlock(lock)
  }
}
