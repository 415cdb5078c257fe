/// Whether the next request is waited for without sleeping: where the last one came soon after the answer before it.
///
/// A reader that goes through a file sends its next request as soon as it has used the answer. Sleeping until then takes
/// longer than waiting: the reader has to wake the worker, and on a virtual machine waking a processor that sleeps is a call to the
/// hypervisor, on both sides. Whoever sends requests now and then is not watched for.
struct Watch {
  /// How soon, and how long a watch lasts at most, in nanoseconds. A reader takes 20 µs to use an answer and ask for
  /// more where waking it is cheap, and 75 where it is dear.
  static let limit = 100_000

  private var answered = Int.min
  private(set) var isWorthwhile = false

  /// A request was answered at a time in nanoseconds, of any clock that does not jump.
  mutating func answer(at time: Int) { answered = time }

  /// The next one was received.
  mutating func receive(at time: Int) {
    let (waited, isLong) = time.subtractingReportingOverflow(answered)
    isWorthwhile = !isLong && waited <= Self.limit
  }
}
