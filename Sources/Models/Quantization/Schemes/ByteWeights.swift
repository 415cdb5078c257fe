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
    // `P.scale` and `P.qscale_weight` are a weight's only where that is called `P.weight`.
    let isWeight = module.key.tensor.name.utf8.suffix(7).elementsEqual(".weight".utf8)
    let others = isWeight ? ["scale", "qscale_weight"].compactMap(module.part) : []
    let scales = names + others
    guard let scale = scales.first else {
      let isClaimed = isInteger ? isWeight && module.config.claimsInteger8 : module.config.claimsFloat8
      if isClaimed, !module.config.excludes(module.name) {
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
    return try ByteWeights(module, scale).tensor(isInteger: isInteger)
  }

  private init(_ module: QuantizedModule, _ scale: TensorPart) throws(Refusal) {
    self.module = module
    self.scale = scale
    weight = module.key
    let shape = weight.shape
    guard shape.count == 2 || shape.count == 3, !shape.contains(0) else {
      throw Refusal("\(weight.label) is \(weight.size), and not a matrix or a stack of them")
    }
    rows = shape[shape.count - 2]
    columns = shape[shape.count - 1]
    stack = shape.count == 3 ? shape[0] : 1
    scheme = try module.schemes.scheme(for: module.name)
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
    if shape.isEmpty || shape == [1] {
      try refuse(unless: scheme?.strategy.map { $0 == "tensor" } ?? true)
      _ = try scale.singleScale()
      return grid(rowBlock: rows, columnBlock: columns, stacked: false)
    }
    if shape.count == 1 { return try lineBlocks(shape[0]) }
    var matrix = shape
    if shape.count == 4, stack == 1, shape[1] == 1, shape[3] == 1 {
      // ModelOpt's FP8_PB_WO.
      matrix = [shape[0], shape[2]]
    } else if weight.shape.count == 3 {
      guard shape.count == 3, shape[0] == stack else { throw misfit(Self.usualBlock) }
      matrix = Array(shape.dropFirst())
      // Llama 4: a scale for each column.
      if matrix == [1, columns], columns > 1, module.config.family == .float8, module.config.blockSize == nil
      {
        return grid(rowBlock: rows, columnBlock: 1)
      }
    }
    guard matrix.count == 2 else { throw misfit(Self.usualBlock) }
    return module.config.family == .compressedTensors
      ? try schemeBlocks(matrix) : try otherBlocks(matrix)
  }

  /// A line of scales: one for each row of a matrix, or for each matrix of a stack.
  private func lineBlocks(_ count: UInt64) throws(Refusal) -> BlockGrid {
    guard module.config.family == .modelOpt || module.config.family == .float8 else {
      throw Refusal("the configuration does not say what \(scale.label) of \(scale.size) is for")
    }
    if weight.shape.count == 2, count == rows { return grid(rowBlock: 1, columnBlock: columns) }
    if weight.shape.count == 3, count == stack { return grid(rowBlock: rows, columnBlock: columns) }
    throw Refusal("\(scale.label) has \(count) numbers, and \(weight.label) is \(weight.size)")
  }

  /// As compressed-tensors' strategies have it.
  private func schemeBlocks(_ shape: [UInt64]) throws(Refusal) -> BlockGrid {
    guard let scheme else { throw Refusal("no group of config_groups is for it") }
    switch scheme.strategy {
    case "channel":
      try scale.require(shape: Array(weight.shape.dropLast()) + [1], "a scale for each row")
      return grid(rowBlock: 1, columnBlock: columns)
    case "group", "tensor_group":
      let size = UInt64(exactly: scheme.groupSize ?? 0) ?? 0
      guard size > 0, columns % size == 0 else {
        throw Refusal("groups of \(scheme.groupSize ?? 0) do not divide \(columns) columns")
      }
      try scale.require(
        shape: Array(weight.shape.dropLast()) + [columns / size], "\(columns) columns in groups of \(size)")
      return grid(rowBlock: 1, columnBlock: size)
    case "block":
      guard let rows = scheme.blockRows, let columns = scheme.blockColumns else {
        throw Refusal("its block_structure is missing")
      }
      guard let grid = fitting(shape, (rows, columns)) else { throw misfit((rows, columns)) }
      return grid
    default:
      throw Refusal(
        "\(scale.label) is \(scale.size), and the strategy is \(PrintableText.quoted(scheme.strategy ?? "not given"))"
      )
    }
  }

  /// Blocks of the configured size, or 128x128; rows, where that is what the scales are for.
  private func otherBlocks(_ shape: [UInt64]) throws(Refusal) -> BlockGrid {
    let block = module.config.blockSize ?? Self.usualBlock
    if let grid = fitting(shape, block) { return grid }
    let hasPowers = scale.dtype == .u8 || scale.dtype == .f8e8m0
    if hasPowers, columns % 32 == 0, let grid = fitting(shape, (1, 32)) { return grid }
    let isKnown = module.config.family == .float8 || module.config.family == .modelOpt
    if isKnown, shape == [rows, 1], scale.label.hasSuffix("_scale") || scale.label == "qscale_weight" {
      return grid(rowBlock: 1, columnBlock: columns)
    }
    throw misfit(block)
  }

  private func fitting(_ shape: [UInt64], _ block: (UInt64, UInt64)) -> BlockGrid? {
    guard shape == [divided(rows, by: block.0), divided(columns, by: block.1)] else { return nil }
    return grid(rowBlock: block.0, columnBlock: block.1)
  }

  private func grid(rowBlock: UInt64, columnBlock: UInt64, stacked: Bool = true) -> BlockGrid {
    BlockGrid(
      matrixRows: stacked ? rows : rows * stack, rowBlock: stacked ? rowBlock : rows * stack,
      columnBlock: columnBlock, rows: divided(rows, by: rowBlock), columns: divided(columns, by: columnBlock))
  }

  private func misfit(_ block: (UInt64, UInt64)) -> Refusal {
    Refusal(
      "\(scale.label) is \(scale.size), and a \(weight.size) weight in \(block.0)x\(block.1) blocks needs "
        + (stack > 1 ? "\(stack)x" : "")
        + "\(divided(rows, by: block.0))x\(divided(columns, by: block.1))")
  }

  private func refuse(unless isFitting: Bool) throws(Refusal) {
    if isFitting { return }
    throw Refusal(
      "\(scale.label) is \(scale.size), and the strategy is \(PrintableText.quoted(scheme?.strategy ?? ""))")
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
    guard isInteger else { throw Refusal("an FP8 weight with zero points is not known") }
    try part.require([.i8])
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
