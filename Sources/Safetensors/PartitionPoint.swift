extension RandomAccessCollection {
  /// The index of the first element that `precedes` is false of, or `endIndex`; it must be true of all elements before and of none
  /// after. A binary search: takes time logarithmic in `count`.
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
