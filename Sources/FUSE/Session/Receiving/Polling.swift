internal import CFuse
internal import CLinux
internal import Glibc

/// Waits for a request without sleeping, for a moment.
///
/// A reader that goes on sends its next request within 20 to 75 µs. Sleeping until then takes longer: the reader has to wake the
/// worker, on a virtual machine through the hypervisor.
struct Polling {
  /// How long it polls, in nanoseconds.
  static let limit = 100_000
  /// Nanoseconds. A thread that keeps the processor longer after sched_yield(2) has more to do: the machine is busy. Threads of
  /// the kernel keep it only briefly.
  static let longestYield = 200_000

  /// Nanoseconds of a clock that does not jump.
  var now: () -> Int = {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
  /// Lets other threads run on this processor.
  var yield: () -> Void = { sched_yield() }
  /// False on a single processor, where nobody could send a request meanwhile.
  var isPossible = stmount_processor_count() > 1

  /// Polls until a request is waiting, and returns nil. Gives up if none arrives in time, or if another thread needs the
  /// processor; then returns how long the poll took, in nanoseconds.
  func timeLost(until isRequestWaiting: () -> Bool) -> Int? {
    guard isPossible else { return isRequestWaiting() ? nil : 0 }
    let start = now()
    var time = start
    while !isRequestWaiting() {
      guard time < start + Self.limit else { return time - start }
      yield()
      let yielded = time
      time = now()
      guard time < yielded + Self.longestYield else { return time - start }
    }
    return nil
  }
}

/// For how long all workers receive after the single receiver has passed on.
struct BackOff {
  /// The maximum number of requests. With more, a reader that comes after a busy time would be slow for long.
  static let limit = 256
  /// What a successful poll saves, in nanoseconds.
  static let saving = 8_000
  /// The maximum of ``saved``, in nanoseconds. It is less than a time slice of another thread, normally 3 to 4 ms.
  static let mostSaved = 1_000_000
  /// The maximum pause, in nanoseconds.
  static let longestPause = 500_000_000

  private var requests = 0
  /// The time that successful polls have saved, less the time of unsuccessful ones, in nanoseconds.
  private var saved = 0

  /// Polling paid.
  mutating func shrink() {
    requests = max(0, requests - 8)
    saved = min(saved + Self.saving, Self.mostSaved)
  }

  /// Two requests overlapped, as they do where a reader opens a file or several read. Returns for how many requests all receive.
  mutating func grow() -> Int { grow(to: requests + 4) }

  /// The answer has to wait. Returns for how many requests all receive.
  mutating func double() -> Int { grow(to: max(4, 2 * requests)) }

  /// An unsuccessful poll took `time` nanoseconds. Returns for how many nanoseconds all receive: 64 times that time, less what was
  /// saved before. So polling takes a busy machine little time.
  mutating func pause(after time: Int) -> Int {
    let left = saved - time
    saved = max(0, left)
    return min(64 * max(0, -left), Self.longestPause)
  }

  private mutating func grow(to new: Int) -> Int {
    requests = min(new, Self.limit)
    return requests
  }
}
