internal import Safetensors

/// Weights of one byte a number, FP8 or int8, with scales for the tensor, its rows, groups or blocks: DeepSeek, Qwen,
/// fbgemm, compressed-tensors' float-, int- and naive-quantized, ModelOpt's FP8 and MXFP8.
struct ByteWeights {
  private let module: QuantizedModule
  private let weight: TensorPart
  private let scale: TensorPart
  private let scheme: CompressionSchemes.Scheme?
  /// The matrix, the last two dimensions of the weight.
  private let rows: UInt64
  private let columns: UInt64
  /// How many matrices there are.
  private let stack: UInt64

  /// The block that DeepSeek's models have, and those that say nothing else.
  private static let usualBlock: (UInt64, UInt64) = (128, 128)

  /// Reads the module whose key is its weight; nil if it is a tensor like any other.
  static func recognise(_ module: QuantizedModule) throws(Refusal) -> QuantizedTensor? {
    let isInteger = module.key.dtype == .i8
    let names = ["_scale_inv", "_scale"].compactMap(module.sibling)
    // `P.scale` and `P.qscale_weight` are a weight's only where that is called `P.weight`; ModelOpt adds to experts' names.
    let isWeight = module.key.tensor.name.utf8.suffix(7).elementsEqual(".weight".utf8)
    let others =
      isWeight
      ? ["scale", "qscale_weight"].compactMap(module.part) : ["_weight_scale"].compactMap(module.sibling)
    let scales = names + others
    guard let scale = scales.first else {
      let isClaimed = isInteger ? isWeight && module.config.claimsInteger8 : module.config.claimsFloat8
      // bitsandbytes keeps codes of 4 bits in elements of any type.
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
      throw Refusal("it has two scales, \(scales.map(\.label).joined(separator: " and "))")
    }
    try module.refuseTransformed()
    for name in ["_scale_2", "_global_scale"] {
      if let other = module.sibling(name) {
        throw Refusal("it has \(other.label) too, which its format does not have")
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
      throw Refusal("\(weight.label) is \(weight.size), and not a matrix or a stack of them")
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
      throw Refusal("weight_g_idx is missing, and the scheme reorders columns")
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

  /// Which group each column has, where that is not the usual one.
  private func groupIndex(_ part: TensorPart, _ blocks: BlockGrid) throws(Refusal) -> TensorView? {
    let index = try part.groupIndex(columns: columns, groups: blocks.columns)
    guard index == nil || module.config.family == .compressedTensors && blocks.rowBlock == 1 else {
      throw Refusal("it has \(part.label), and no groups of columns")
    }
    return index
  }

  // MARK: - Scales

  /// Which scale is whose, by the configuration and the scale's shape.
  private func blocks() throws(Refusal) -> BlockGrid {
    let shape = scale.shape
    let isCompressed = module.config.family == .compressedTensors
    if isCompressed, let scheme { return try scheme.blocks(scale, of: weight.shape) }
    if scale.isSingle {
      _ = try scale.singleScale()
      return BlockGrid(single: stack * rows, columns)
    }
    if isCompressed { throw Refusal("no group of config_groups is for it") }
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

  /// Llama 4's experts have a scale for each column: a line, which the one of down_proj is stored as a column. Nil if these are
  /// other experts.
  private func columnBlocks(_ shape: [UInt64]) throws(Refusal) -> BlockGrid? {
    guard module.config.family == .float8, module.config.blockSize == nil else { return nil }
    let isTransposed = module.config.settings["quant_method"]?.string?.lowercased() == "fbgemm_fp8"
    let isColumn = isTransposed && shape == [columns, 1]
    if columns > 1, isColumn || shape == [1, columns] { return BlockGrid(of: (rows, columns), (rows, 1)) }
    guard isTransposed else { return nil }
    throw Refusal("\(scale.label) is \(scale.size), and \(weight.size) needs \(stack)x1x\(columns)")
  }

  /// A line of scales: one for each row of a matrix, or for each matrix of a stack.
  private func lineBlocks(_ count: UInt64) throws(Refusal) -> BlockGrid {
    guard module.config.family == .modelOpt || module.config.family == .float8 else {
      throw Refusal("the configuration does not say what \(scale.label) of \(scale.size) is for")
    }
    if weight.shape.count == 2, count == rows { return BlockGrid(of: (rows, columns), (1, columns)) }
    if weight.shape.count == 3, count == stack { return BlockGrid(of: (rows, columns), (rows, columns)) }
    throw Refusal("\(scale.label) has \(count) numbers, and \(weight.label) is \(weight.size)")
  }

  /// Blocks of the configured size, or 128x128; rows or whole matrices, where that is what the scales are for.
  private func matrixBlocks(_ shape: [UInt64]) throws(Refusal) -> BlockGrid {
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
      // The halves of gate_up_proj were matrices of their own.
      let isMerged = shape[0] == 2 && rows % 2 == 0 && weight.label.hasSuffix("gate_up_proj")
      if let grid = grid((isMerged ? rows / 2 : rows, columns)) { return grid }
    }
    throw misfit(block)
  }

  private func misfit(_ block: (UInt64, UInt64)) -> Refusal {
    let grid = BlockGrid(of: (rows, columns), block)
    return Refusal(
      "\(scale.label) is \(scale.size), and a \(weight.size) weight in \(block.0)x\(block.1) blocks needs "
        + (stack > 1 ? "\(stack)x" : "") + "\(grid.rows)x\(grid.columns)")
  }

  // MARK: - Zero points

  private func zeros(isInteger: Bool, _ blocks: BlockGrid) throws(Refusal) -> (
    zeros: ZeroPoints, place: Model.Place
  )? {
    let isAsymmetric = scheme.map { !$0.isSymmetric } ?? false
    guard let part = module.sibling("_zero_point") else {
      if isAsymmetric { throw Refusal("weight_zero_point is missing, and the scheme is not symmetric") }
      return nil
    }
    if !isAsymmetric {
      // Some writers keep zero points that say nothing.
      guard try part.bytes().allSatisfy({ $0 == 0 }) else {
        throw Refusal("\(part.label) is not 0, and the scheme is symmetric")
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
  /// True if every FP8 weight is to have a scale.
  fileprivate var claimsFloat8: Bool {
    switch family {
    case .float8, .modelOpt, .compressedTensors: true
    default: false
    }
  }

  /// True if every int8 weight is to have a scale.
  fileprivate var claimsInteger8: Bool {
    switch family {
    case .modelOpt, .compressedTensors, .bitsAndBytes: true
    default: false
    }
  }
}
