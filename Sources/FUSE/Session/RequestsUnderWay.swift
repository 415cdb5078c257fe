internal import Synchronization

/// The requests in progress, each with its own number, to detect one whose source never answers.
final class RequestsUnderWay: Sendable {
  /// More than there are workers.
  private static let limit = 512
  private let places = InlineArray<512, Atomic<UInt64>> { _ in Atomic(0) }
  private let last = Atomic<UInt64>(0)

  /// Begins a request. Returns its slot.
  func begin() -> Int {
    let number = last.wrappingAdd(1, ordering: .relaxed).newValue
    var place = Int(number % UInt64(Self.limit))
    while !places[place].compareExchange(expected: 0, desired: number, ordering: .relaxed).exchanged {
      place = (place + 1) % Self.limit
    }
    return place
  }

  /// Ends the request in a slot.
  func end(_ place: Int) { places[place].store(0, ordering: .relaxed) }

  var current: Set<UInt64> {
    Set((0..<Self.limit).map { places[$0].load(ordering: .relaxed) }.filter { $0 != 0 })
  }
}
