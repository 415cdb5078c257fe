import Testing

@testable import Models

@Suite("Searching slices") struct BoxTreeTests {
  /// A way to cut a matrix into boxes.
  enum Cut: CaseIterable {
    case rows, columns, grid
    /// A column that is one box, beside a column of many boxes.
    case tall

    /// Many boxes, of one byte or of one row or column.
    func boxes(_ side: UInt64) -> [AssembledTensor.Box] {
      func box(_ start: [UInt64], _ shape: [UInt64]) -> AssembledTensor.Box {
        AssembledTensor.Box(place: Model.Place(shard: 0, index: 0), start: start, shape: shape[...])
      }
      return switch self {
      case .rows: (0..<side).map { box([$0, 0], [1, side]) }
      case .columns: (0..<side).map { box([0, $0], [side, 1]) }
      case .grid: (0..<side * side).map { box([$0 / side, $0 % side], [1, 1]) }
      case .tall:
        [box([0, 0], [side, side / 2])] + (0..<side).map { box([$0, side / 2], [1, side - side / 2]) }
      }
    }
  }

  @Test(
    "A search visits few slices besides those with bytes in the part", arguments: Cut.allCases,
    [16, 32, 64])
  func few(_ cut: Cut, side: UInt64) throws {
    let boxes = cut.boxes(side)
    let runs = try boxes.map { box in
      try #require(BoxRuns(start: box.start, shape: box.shape, in: [side, side], bits: 8))
    }
    let tree = BoxTree(boxes, in: [side, side], bits: 8)
    let depth = 64 - boxes.count.leadingZeroBitCount
    for start in stride(from: 0, to: side * side, by: 31) {
      for count in [1, 3, side] {
        let range = start..<min(start + count, side * side)
        let expected = runs.indices.filter { !runs[$0].bytes(in: range).isEmpty }
        var found: [Int] = []
        tree.search(range) { found.append($0) }
        #expect(found.filter { expected.contains($0) } == expected)
        #expect(found.count <= (expected.count + 3) * depth, "\(range): \(found.count) of \(boxes.count)")
      }
    }
  }
}
