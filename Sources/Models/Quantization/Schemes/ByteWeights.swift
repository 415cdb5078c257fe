internal import Safetensors

/// Weights of one byte per number, FP8 or int8, with scales per tensor, row, group or block: DeepSeek, Qwen,
/// fbgemm, compressed-tensors' float-, int- and naive-quantized, ModelOpt's FP8 and MXFP8.
struct ByteWeights {
  private let module: QuantizedModule
  private let weight: TensorPart
  private let scale: TensorPart
  private let scheme: CompressionSchemes.Scheme?
  /// The last two dimensions of the weight.
  private let rows: UInt64
  private let columns: UInt64
  /// The number of matrices in the weight.
  private let stack: UInt64

  /// The block size of DeepSeek's models, and the default.
  private static let usualBlock: (UInt64, UInt64) = (128, 128)

  /// Reads the module whose key is its weight; nil if the weight is not quantised.
  static func recognise(_ module: QuantizedModule) throws(Refusal) -> QuantizedTensor? {
    let isInteger = module.key.dtype == .i8
    let names = ["_scale_inv", "_scale"].compactMap(module.sibling)
    // `P.scale` and `P.qscale_weight` belong to a weight only if it is called `P.weight`. ModelOpt appends
    // suffixes to the names of experts instead.
    let isWeight = module.key.tensor.name.utf8.suffix(7).elementsEqual(".weight".utf8)
    let others =
      isWeight
      ? ["scale", "qscale_weight"].compactMap(module.part) : ["_weight_scale"].compactMap(module.sibling)
    let scales = names + others
    guard let scale = scales.first else {
      let isClaimed = isInteger ? isWeight && module.config.claimsInteger8 : module.config.claimsFloat8
      // bitsandbytes stores 4-bit codes as elements of any dtype.
      let holdsNibbles = ["nf4", "fp4"].contains {
        module.sibling(".quant_state.bitsandbytes__" + $0) != nil
      }
      if isClaimed, !holdsNibbles, !module.config.excludes(module.name) {
        throw Refusal(
          "it is \(module.key.dtype.name) without a scale, though the configuration says \(isInteger ? "int8" : "FP8") and does not exclude it"
        )
      }
      return nil
    }
    if scales.count > 1 {
      throw Refusal("it has two scales: \(scales.map(\.label).joined(separator: " and "))")
    }
    try module.refuseTransformed()
    for name in ["_scale_2", "_global_scale"] {
      if let other = module.sibling(name) {
        throw Refusal("it has \(other.label), which its format does not use")
      }
    }
    if isInteger, scale.label == "scale" { return try FourBitWeights.deepSeek(module, scale) }
    return try module.withScheme(isInteger: isInteger) { scheme throws(Refusal) in
      try ByteWeights(module, scale, scheme).tensor(isInteger: isInteger)
    }
  }

  private init(_ module: QuantizedModule, _ scale: TensorPart, _ scheme: CompressionSchemes.Scheme?)
    throws(Refusal)
  {
    self.module = module
    self.scale = scale
    self.scheme = scheme
    weight = module.key
    let shape = weight.shape
    guard shape.count == 2 || shape.count == 3, !shape.contains(0) else {
      throw Refusal("\(weight.label) is \(weight.size), not a matrix or a stack of matrices")
    }
    rows = shape[shape.count - 2]
    columns = shape[shape.count - 1]
    stack = shape.count == 3 ? shape[0] : 1
  }

  private func tensor(isInteger: Bool) throws(Refusal) -> QuantizedTensor {
    if isInteger, module.config.family != .compressedTensors, module.config.family != .modelOpt {
      throw Refusal("the configuration does not say what an I8 weight with \(scale.label) is")
    }
    let hasPowers = scale.dtype == .u8 || scale.dtype == .f8e8m0
    if !hasPowers { try scale.require(scaleTypes) }
    if isInteger, hasPowers { throw Refusal("\(scale.label) of an I8 weight is \(scale.dtype.name)") }
    let blocks = try blocks()
    var view = try scale.view()
    if hasPowers { view = view.read(as: .f8e8m0) }
    let count = try product([stack, rows, columns])
    let zeros = try zeros(isInteger: isInteger, blocks)
    let index = module.sibling("_g_idx")
    if index == nil, scheme?.isReordered == true, blocks.rowBlock == 1, blocks.columns > 1 {
      throw Refusal("weight_g_idx is missing, but the scheme reorders columns")
    }
    let isMicroscaled = hasPowers && blocks.rowBlock == 1 && blocks.columnBlock == 32
    return QuantizedTensor(
      name: weight.tensor.name, shape: weight.shape,
      format: isInteger ? .int8 : isMicroscaled ? .microscaledFloat8 : .float8,
      sources: [weight.place, scale.place] + [zeros?.place, index?.place].compactMap { $0 },
      arithmetic: DequantizationArithmetic(
        count: count, columns: columns,
        codes: QuantizedCodes(
          view: try weight.view(), rowBytes: columns, width: 8, packing: .stream,
          values: isInteger ? .signed : .float(weight.dtype)),
        scales: ScaleGrid(view: view, blocks: blocks), zeros: zeros?.zeros,
        groupIndex: try index.flatMap { part throws(Refusal) in try groupIndex(part, blocks) }))
  }

  /// The group of each column; nil if columns are grouped in order.
  private func groupIndex(_ part: TensorPart, _ blocks: BlockGrid) throws(Refusal) -> TensorView? {
    let index = try part.groupIndex(columns: columns, groups: blocks.columns)
    guard index == nil || module.config.family == .compressedTensors && blocks.rowBlock == 1 else {
      throw Refusal("it has \(part.label), but no groups of columns")
    }
    return index
  }

  // MARK: - Scales

  /// The grid of scales, from the configuration and the scales' shape.
  private func blocks() throws(Refusal) -> BlockGrid {
    let shape = scale.shape
    let isCompressed = module.config.family == .compressedTensors
    if isCompressed, let scheme { return try scheme.blocks(scale, of: weight.shape) }
    if scale.isSingle {
      _ = try scale.singleScale()
      return BlockGrid(single: stack * rows, columns)
    }
    if isCompressed { throw Refusal("no group in config_groups matches it") }
    if shape.count == 1
      || module.config.family == .modelOpt && shape == [stack, 1] && weight.shape.count == 3
    {
      return try lineBlocks(shape[0])
    }
    var matrix = shape
    if shape.count == 4, stack == 1, shape[1] == 1, shape[3] == 1 {
      // ModelOpt's FP8_PB_WO.
      matrix = [shape[0], shape[2]]
    } else if weight.shape.count == 3 {
      guard shape.count == 3, shape[0] == stack else { throw misfit(Self.usualBlock) }
      matrix = Array(shape.dropFirst())
      if let grid = try columnBlocks(matrix) { return grid }
    }
    guard matrix.count == 2 else { throw misfit(Self.usualBlock) }
    return try matrixBlocks(matrix)
  }

  /// One scale per column, as in Llama 4's experts: a row of scales, which down_proj stores as a column. Nil
  /// for other experts.
  private func columnBlocks(_ shape: [UInt64]) throws(Refusal) -> BlockGrid? {
    guard module.config.family == .float8, module.config.blockSize == nil else { return nil }
    let isTransposed = module.config.settings["quant_method"]?.string?.lowercased() == "fbgemm_fp8"
    let isColumn = isTransposed && shape == [columns, 1]
    if columns > 1, isColumn || shape == [1, columns] { return BlockGrid(of: (rows, columns), (rows, 1)) }
    guard isTransposed else { return nil }
    throw Refusal(
      "\(scale.label) is \(scale.size); expected \(stack)x1x\(columns) for a weight of \(weight.size)")
  }

  /// A vector of scales: one per row of a matrix, or one per matrix of a stack.
  private func lineBlocks(_ count: UInt64) throws(Refusal) -> BlockGrid {
    guard module.config.family == .modelOpt || module.config.family == .float8 else {
      throw Refusal("the configuration does not say what \(scale.label) of \(scale.size) applies to")
    }
    if weight.shape.count == 2, count == rows { return BlockGrid(of: (rows, columns), (1, columns)) }
    if weight.shape.count == 3, count == stack { return BlockGrid(of: (rows, columns), (rows, columns)) }
    throw Refusal("\(scale.label) has \(count) numbers, but \(weight.label) is \(weight.size)")
  }

  /// Blocks of the configured size, or 128x128. Or one scale per row or matrix, if the shape says so.
  private func matrixBlocks(_ shape: [UInt64]) throws(Refusal) -> BlockGrid {
    if module.config.hasInvalidBlockSize {
      throw Refusal("weight_block_size in the configuration is not a pair of positive numbers")
    }
    let block = module.config.blockSize ?? Self.usualBlock
    func grid(_ block: (UInt64, UInt64)) -> BlockGrid? {
      let grid = BlockGrid(of: (rows, columns), block)
      return shape == [grid.rows, grid.columns] ? grid : nil
    }
    if let grid = grid(block) { return grid }
    let hasPowers = scale.dtype == .u8 || scale.dtype == .f8e8m0
    if hasPowers, columns % 32 == 0, let grid = grid((1, 32)) { return grid }
    let isKnown = module.config.family == .float8 || module.config.family == .modelOpt
    if isKnown, scale.label.hasSuffix("_scale") || scale.label == "qscale_weight", shape == [rows, 1] {
      return BlockGrid(of: (rows, columns), (1, columns))
    }
    if module.config.hasNoBlocks {
      // gate_up_proj was made of two matrices with a scale each.
      let isMerged = shape[0] == 2 && rows % 2 == 0 && weight.label.hasSuffix("gate_up_proj")
      if let grid = grid((isMerged ? rows / 2 : rows, columns)) { return grid }
    }
    throw misfit(block)
  }

  private func misfit(_ block: (UInt64, UInt64)) -> Refusal {
    let grid = BlockGrid(of: (rows, columns), block)
    return Refusal(
      "\(scale.label) is \(scale.size); expected "
        + (stack > 1 ? "\(stack)x" : "") + "\(grid.rows)x\(grid.columns) for a weight of \(weight.size) in "
        + "blocks of \(block.0)x\(block.1)")
  }

  // MARK: - Zero points

  private func zeros(isInteger: Bool, _ blocks: BlockGrid) throws(Refusal) -> (
    zeros: ZeroPoints, place: Model.Place
  )? {
    let isAsymmetric = scheme.map { !$0.isSymmetric } ?? false
    guard let part = module.sibling("_zero_point") else {
      if isAsymmetric { throw Refusal("weight_zero_point is missing, but the scheme is not symmetric") }
      return nil
    }
    if !isAsymmetric {
      // Some writers store zero points that are all 0.
      guard try part.bytes().allSatisfy({ $0 == 0 }) else {
        throw Refusal("\(part.label) is not 0, but the scheme is symmetric")
      }
      return nil
    }
    try part.require(isInteger ? [.i8] : [.i8, .f8e4m3])
    try part.require(shape: scale.shape, "\(scale.label) of that shape")
    let zeros = ZeroPoints(view: try part.view(), packing: .bytes, width: 8, groups: blocks.columns)
    return (zeros, part.place)
  }
}

extension QuantizationConfig {
  /// True if the configuration requires a scale for each FP8 weight.
  fileprivate var claimsFloat8: Bool {
    switch family {
    case .float8, .modelOpt, .compressedTensors: true
    default: false
    }
  }

  /// True if the configuration requires a scale for each int8 weight.
  fileprivate var claimsInteger8: Bool {
    switch family {
    case .modelOpt, .compressedTensors, .bitsAndBytes: true
    default: false
    }
  }
}
