internal import Safetensors

extension CompressionSchemes.Scheme {
  /// The grid of a compressed-tensors scale, from the strategy; without one, from the scale's shape.
  ///
  /// `weight` is the weight's logical shape: a matrix or a stack of matrices. Refuses scales whose shape does
  /// not fit the strategy.
  func blocks(_ scale: TensorPart, of weight: [UInt64]) throws(Refusal) -> BlockGrid {
    guard weight.count >= 2 else { throw Refusal("it is not a matrix") }
    let stack = Array(weight.dropLast(2))
    let (rows, columns) = (weight[weight.count - 2], weight[weight.count - 1])
    let strategy = strategy ?? self.strategy(of: scale.shape)
    switch strategy {
    case "tensor":
      guard scale.isSingle else { break }
      _ = try scale.singleScale()
      return BlockGrid(single: try product(stack + [rows]), columns)
    case "channel":
      try scale.require(shape: stack + [rows, 1], "one scale per row")
      return BlockGrid(of: (rows, columns), (1, columns))
    case "group", "tensor_group":
      let size = UInt64(exactly: groupSize ?? 0) ?? 0
      guard size > 0, columns % size == 0 else {
        throw Refusal("\(columns) columns are not a multiple of the group size \(groupSize ?? 0)")
      }
      try scale.require(shape: stack + [rows, columns / size], "\(columns) columns in groups of \(size)")
      return BlockGrid(of: (rows, columns), (1, size))
    case "block":
      guard let blockRows, let blockColumns else {
        throw Refusal("the configuration does not say its block_structure")
      }
      let grid = BlockGrid(of: (rows, columns), (blockRows, blockColumns))
      try scale.require(
        shape: stack + [grid.rows, grid.columns],
        "\(rows)x\(columns) in \(blockRows)x\(blockColumns) blocks")
      return grid
    default: break
    }
    throw Refusal(
      "\(scale.label) is \(scale.size), which does not fit the strategy \(PrintableText.quoted(strategy))")
  }

  /// The strategy that fits a scale's shape.
  private func strategy(of scale: [UInt64]) -> String {
    if scale.count < 2 { return "tensor" }
    return scale.last == 1 ? "channel" : groupSize == nil ? "not given" : "group"
  }
}
