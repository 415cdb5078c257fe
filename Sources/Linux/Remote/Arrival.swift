internal import Glibc

/// An event that happens once and has an outcome; threads can wait for it: pthread_cond_wait(3).
@safe final class Arrival: @unchecked Sendable {
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let change = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  /// Nil until the event happens. Guarded by the lock.
  private var outcome: Bool?

  init() {
    unsafe lock.initialize(to: pthread_mutex_t())
    unsafe change.initialize(to: pthread_cond_t())
    unsafe pthread_mutex_init(lock, nil)
    unsafe pthread_cond_init(change, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(change)
    unsafe pthread_mutex_destroy(lock)
    unsafe change.deallocate()
    unsafe lock.deallocate()
  }

  /// Records the outcome and wakes all waiting threads.
  func happen(_ outcome: Bool) {
    unsafe pthread_mutex_lock(lock)
    self.outcome = outcome
    unsafe pthread_cond_broadcast(change)
    unsafe pthread_mutex_unlock(lock)
  }

  /// Waits for the event, and returns its outcome.
  func wait() -> Bool {
    unsafe pthread_mutex_lock(lock)
    defer { unsafe pthread_mutex_unlock(lock) }
    while true {
      if let outcome { return outcome }
      unsafe pthread_cond_wait(change, lock)
    }
  }
}
