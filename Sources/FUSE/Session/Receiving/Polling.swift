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

  /// Polls until a request is waiting. False if none comes in time, or if another thread needs the processor.
  func finds(_ isRequestWaiting: () -> Bool) -> Bool {
    guard isPossible else { return isRequestWaiting() }
    let start = now()
    var time = start
    while !isRequestWaiting() {
      guard time < start + Self.limit else { return false }
      yield()
      let yielded = time
      time = now()
      guard time < yielded + Self.longestYield else { return false }
    }
    return true
  }
}

/// How many requests all workers receive after the single receiver has passed on.
struct BackOff: Equatable {
  /// The maximum number of requests. With more, a reader that comes after a busy time would be slow for long.
  static let limit = 256

  private var requests = 0

  /// Polling paid.
  mutating func shrink() { requests = max(0, requests - 8) }

  /// Two requests overlapped, as they do where a reader opens a file or several read. Returns for how many requests all receive.
  mutating func grow() -> Int { grow(to: requests + 4) }

  /// Polling failed, or the answer has to wait. Returns for how many requests all receive.
  mutating func double() -> Int { grow(to: max(4, 2 * requests)) }

  private mutating func grow(to new: Int) -> Int {
    requests = min(new, Self.limit)
    return requests
  }
}
