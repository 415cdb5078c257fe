internal import Glibc
internal import Linux
internal import Synchronization

/// Whose turn it is to receive the next request: one worker's at a time, while requests come one by one.
///
/// If all workers waited in read(2), the kernel would wake the one that has slept longest, whose stack and code no processor
/// has in its cache any more. So the one that has the turn keeps it for as long as its answers come from memory. Where
/// requests overlap nothing is gained by turns, and all workers receive.
@safe final class Turn: @unchecked Sendable {
  /// Locked by the worker whose turn it is, and unlocked by the same one: pthread_mutex_lock(3). Not `Mutex`, whose lock
  /// ends with a closure.
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  /// The worker whose turn it is; 0 where it is nobody's.
  private let holder = Atomic<UInt>(0)

  /// How many requests are being answered.
  private let answering = Atomic<Int>(0)
  /// Who sent the last one: a thread's ID.
  private let sender = Atomic<UInt32>(0)
  /// How many requests must come alone before there are turns again.
  private let crowd = Atomic<Int>(0)
  /// What each request that does not come alone adds to that, and the most that there can be.
  private static let crowdStep = 4
  private static let crowdLimit = 64

  init() {
    unsafe lock.initialize(to: pthread_mutex_t())
    unsafe pthread_mutex_init(lock, nil)
  }

  deinit {
    unsafe pthread_mutex_destroy(lock)
    unsafe lock.deallocate()
  }

  /// True if it is the calling thread's turn.
  var isMine: Bool { holder.load(ordering: .relaxed) == UInt(pthread_self()) }

  private var isEverybodys: Bool { crowd.load(ordering: .relaxed) > 0 }

  /// Waits until the calling thread may receive: until it is its turn, or everybody's.
  func take() {
    if isMine || isEverybodys { return }
    unsafe pthread_mutex_lock(lock)
    holder.store(UInt(pthread_self()), ordering: .relaxed)
    if isEverybodys { passOn() }
  }

  /// Ends the calling thread's turn, if it has it: another worker receives from now on.
  func passOn() {
    guard isMine else { return }
    holder.store(0, ordering: .relaxed)
    unsafe pthread_mutex_unlock(lock)
  }

  /// The calling thread begins to answer a request of a `sender`'s, which others should help with: it is a long one, or the
  /// next one waits already.
  func begin(from sender: UInt32, needsHelp: Bool) {
    let isAlone =
      answering.wrappingAdd(1, ordering: .relaxed).oldValue == 0
      // One that reads on asks for more while the end of its last answer is still on its way.
      || self.sender.load(ordering: .relaxed) == sender
    self.sender.store(sender, ordering: .relaxed)
    // Two threads may change it at once, and one of them in vain; what counts is how often it happens.
    let crowd = self.crowd.load(ordering: .relaxed)
    if needsHelp || !isAlone {
      self.crowd.store(min(crowd + Self.crowdStep, Self.crowdLimit), ordering: .relaxed)
      passOn()
    } else if crowd > 0 {
      self.crowd.store(crowd - 1, ordering: .relaxed)
      passOn()
    }
  }

  /// The calling thread has answered the request that it began.
  func end() { answering.wrappingSubtract(1, ordering: .relaxed) }
}
