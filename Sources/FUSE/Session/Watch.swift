internal import Linux

/// Whether the next request is waited for without sleeping: where the last one came soon after the answer before it, and
/// waiting so has been of use.
///
/// A reader that goes through a file sends its next request as soon as it has used the answer. Sleeping until then takes
/// longer than waiting: the reader has to wake the worker, and on a virtual machine waking a processor that sleeps is a call
/// to the hypervisor, on both sides. Whoever sends requests now and then is not watched for. Where all processors are busy,
/// the reader may need the very one on which it is watched for; then every watch is in vain, and they become rare.
struct Watch {
  /// How soon, and how long a watch lasts at most, in nanoseconds. A reader takes 20 µs to use an answer and ask for
  /// more where waking it is cheap, and 75 where it is dear.
  static let limit = 100_000
  /// How many requests are not watched for after a watch in vain, at most. Twice as many as after the one before.
  static let longestPause = 64
  /// Nanoseconds after which a thread that was given the processor has so much to do that it is not given to others again soon.
  static let longYield = 200_000
  /// For how many requests it is not.
  static let requestsUndivided = 1000

  private var answered = Int.min
  private var isSoon = false
  private var isWatching = false
  private var pause = 0
  private var nextPause = 1
  /// For how many requests the processor is not given to others.
  private var undivided = 0

  var isWorthwhile: Bool { isSoon && pause == 0 }

  /// Whether others may have the processor between two looks. A thread of the kernel that needs it for a moment should not
  /// have to wait until the request is there, and then go first. Somebody who computes would keep it for milliseconds.
  var yields: Bool { undivided == 0 }

  /// Others had the processor for so many nanoseconds.
  mutating func yield(for time: Int) {
    if time >= Self.longYield { undivided = Self.requestsUndivided }
  }

  /// A request was answered at a time in nanoseconds, of any clock that does not jump. The next one is watched for, if that
  /// is worthwhile.
  mutating func answer(at time: Int) {
    answered = time
    isWatching = isWorthwhile
  }

  /// The next one was received.
  mutating func receive(at time: Int) {
    let (waited, isLong) = time.subtractingReportingOverflow(answered)
    isSoon = !isLong && waited <= Self.limit
    if isWatching, isSoon {
      nextPause = max(1, nextPause - 1)
    } else if isWatching {
      nextPause = min(nextPause * 2, Self.longestPause)
      pause = nextPause
    } else {
      pause = max(0, pause - 1)
    }
    isWatching = false
    undivided = max(0, undivided - 1)
  }
}
