internal import Linux
internal import Synchronization

/// The requests that are being answered, each by a number of its own, so that one whose source never answers can be told.
final class RequestsUnderWay: Sendable {
  /// More than there are workers.
  private static let limit = 512
  private let places = InlineArray<512, Atomic<UInt64>> { _ in Atomic(0) }
  private let last = Atomic<UInt64>(0)

  /// Begins a request. Returns where it is remembered.
  func begin() -> Int {
    let number = last.wrappingAdd(1, ordering: .relaxed).newValue
    var place = Int(number % UInt64(Self.limit))
    while !places[place].compareExchange(expected: 0, desired: number, ordering: .relaxed).exchanged {
      place = (place + 1) % Self.limit
    }
    return place
  }

  /// Ends the request that is remembered there.
  func end(_ place: Int) { places[place].store(0, ordering: .relaxed) }

  var current: Set<UInt64> {
    Set((0..<Self.limit).map { places[$0].load(ordering: .relaxed) }.filter { $0 != 0 })
  }
}
