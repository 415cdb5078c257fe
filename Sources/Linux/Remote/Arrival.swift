internal import Glibc

/// Something that happens once, with an outcome, and that threads wait for: pthread_cond_wait(3).
@safe final class Arrival: @unchecked Sendable {
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let change = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  /// Under the lock; nil until it has happened.
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

  /// It has happened.
  func happen(_ outcome: Bool) {
    unsafe pthread_mutex_lock(lock)
    self.outcome = outcome
    unsafe pthread_cond_broadcast(change)
    unsafe pthread_mutex_unlock(lock)
  }

  /// Waits until it has happened, and returns the outcome.
  func wait() -> Bool {
    unsafe pthread_mutex_lock(lock)
    defer { unsafe pthread_mutex_unlock(lock) }
    while true {
      if let outcome { return outcome }
      unsafe pthread_cond_wait(change, lock)
    }
  }
}
