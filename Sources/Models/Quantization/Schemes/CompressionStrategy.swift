internal import Safetensors

extension CompressionSchemes.Scheme {
  /// Which scale of compressed-tensors is whose, by the strategy; where none is given, by the scale's shape.
  ///
  /// `weight` is the weight's logical shape: a matrix or a stack of them. Refuses scales of any other shape than the strategy's.
  func blocks(_ scale: TensorPart, of weight: [UInt64]) throws(Refusal) -> BlockGrid {
    guard weight.count >= 2 else { throw Refusal("it is no matrix") }
    let stack = Array(weight.dropLast(2))
    let (rows, columns) = (weight[weight.count - 2], weight[weight.count - 1])
    let strategy = strategy ?? self.strategy(of: scale.shape)
    switch strategy {
    case "tensor":
      guard scale.isSingle else { break }
      _ = try scale.singleScale()
      return BlockGrid(single: try product(stack + [rows]), columns)
    case "channel":
      try scale.require(shape: stack + [rows, 1], "a scale for each row")
      return BlockGrid(of: (rows, columns), (1, columns))
    case "group", "tensor_group":
      let size = UInt64(exactly: groupSize ?? 0) ?? 0
      guard size > 0, columns % size == 0 else {
        throw Refusal("groups of \(groupSize ?? 0) do not divide \(columns) columns")
      }
      try scale.require(shape: stack + [rows, columns / size], "\(columns) columns in groups of \(size)")
      return BlockGrid(of: (rows, columns), (1, size))
    case "block":
      guard let blockRows, let blockColumns else { throw Refusal("its block_structure is missing") }
      let grid = BlockGrid(of: (rows, columns), (blockRows, blockColumns))
      try scale.require(
        shape: stack + [grid.rows, grid.columns],
        "\(rows)x\(columns) in \(blockRows)x\(blockColumns) blocks")
      return grid
    default: break
    }
    throw Refusal("\(scale.label) is \(scale.size), and the strategy is \(PrintableText.quoted(strategy))")
  }

  /// The strategy that a scale's shape stands for.
  private func strategy(of scale: [UInt64]) -> String {
    if scale.count < 2 { return "tensor" }
    return scale.last == 1 ? "channel" : groupSize == nil ? "not given" : "group"
  }
}
