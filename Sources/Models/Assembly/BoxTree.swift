/// Finds the boxes that have bytes in a range of the whole tensor, without visiting all boxes.
///
/// A balanced binary tree over the array of boxes: the root of a subarray is its middle box. Each node has the bounding box
/// of its subarray. A search skips a subarray whose bounding box has no bytes in the range.
struct BoxTree: Sendable {
  /// The bounding box of each subarray, at the position of its middle box; nil if it begins or ends inside a byte.
  private var bounds: [BoxRuns?]

  /// Makes a tree of boxes inside `whole`, with elements of `bits` bits. The boxes are in the order of their
  /// first bytes, so neighbours are close to each other, and a search visits few.
  init(_ boxes: [AssembledTensor.Box], in whole: [UInt64], bits: UInt64) {
    bounds = Array(repeating: nil, count: boxes.count)
    _ = bound(boxes[...], in: whole, bits: bits)
  }

  /// Sets the bounding boxes of a subarray and of all its subarrays. Returns start and end of its own; nil if it is empty.
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

  /// Calls `body`, in order, with the position of each box that has bytes in the range, and of a few other boxes.
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
