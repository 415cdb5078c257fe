/// Finds the boxes with bytes in a part of the whole, without looking at all of them.
///
/// A balanced binary tree: the root of a run of boxes is the one in its middle. Each node knows the smallest box around its run, and
/// if none of that box's bytes are in the part, none of the run's are.
struct BoxTree: Sendable {
  /// By position of the box; nil if the box around the run does not begin or end at a byte.
  private var bounds: [BoxRuns?]

  /// A tree of boxes inside `whole`, each with elements of that many bits. In the order of their first bytes, neighbours are close to each
  /// other, so few have to be looked at.
  init(_ boxes: [AssembledTensor.Box], in whole: [UInt64], bits: UInt64) {
    bounds = Array(repeating: nil, count: boxes.count)
    _ = bound(boxes[...], in: whole, bits: bits)
  }

  /// Sets the bounds of a run, and returns the corners of the box around it; nil if the run is empty.
  private mutating func bound(
    _ run: ArraySlice<AssembledTensor.Box>, in whole: [UInt64], bits: UInt64
  ) -> (start: [UInt64], end: [UInt64])? {
    guard !run.isEmpty else { return nil }
    let middle = Self.middle(run.indices)
    // Cannot overflow: each box is inside the whole.
    var (start, end) = (run[middle].start, zip(run[middle].start, run[middle].shape).map(+))
    for side in [run[..<middle], run[(middle + 1)...]] {
      guard let other = bound(side, in: whole, bits: bits) else { continue }
      start = zip(start, other.start).map(min)
      end = zip(end, other.end).map(max)
    }
    let shape = zip(end, start).map(-)
    bounds[middle] = BoxRuns(start: start, shape: shape[...], in: whole, bits: bits)
    return (start, end)
  }

  /// Calls `body` with the positions of boxes that may have bytes in the range, in order: all that have, and a few for each of
  /// these that have none.
  func search(_ range: Range<UInt64>, _ body: (Int) -> Void) { search(bounds.indices, range, body) }

  private func search(_ run: Range<Int>, _ range: Range<UInt64>, _ body: (Int) -> Void) {
    guard !run.isEmpty else { return }
    let middle = Self.middle(run)
    if bounds[middle]?.bytes(in: range).isEmpty == true { return }
    search(run.lowerBound..<middle, range, body)
    body(middle)
    search(middle + 1..<run.upperBound, range, body)
  }

  private static func middle(_ run: Range<Int>) -> Int { run.lowerBound + run.count / 2 }
}
