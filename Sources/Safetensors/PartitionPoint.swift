extension RandomAccessCollection {
  /// The index of the first element for which `precedes` is false, or `endIndex`. It must be true for all elements before that one,
  /// and false for all after it. A binary search: takes time logarithmic in `count`.
  @inlinable package func partitionPoint(where precedes: (Element) -> Bool) -> Index {
    var low = startIndex
    var count = count
    while count > 0 {
      let half = count / 2
      let middle = index(low, offsetBy: half)
      if precedes(self[middle]) {
        low = index(after: middle)
        count -= half + 1
      } else {
        count = half
      }
    }
    return low
  }
}
