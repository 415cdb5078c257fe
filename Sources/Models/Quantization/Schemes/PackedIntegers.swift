internal import Safetensors

/// compressed-tensors' pack-quantized: integers of 1 to 8 bits in 32-bit words, `weight_packed` with `weight_shape`.
struct PackedIntegers {
  private let module: QuantizedModule
  private let packed: TensorPart
  private let scheme: CompressionSchemes.Scheme?
  private let rows: UInt64
  private let columns: UInt64
  private let bits: UInt64
  private let isStream: Bool

  /// Reads the module whose key is `weight_packed`, of I32.
  static func recognise(_ module: QuantizedModule) throws(Refusal) -> QuantizedTensor {
    try PackedIntegers(module).tensor()
  }

  private init(_ module: QuantizedModule) throws(Refusal) {
    self.module = module
    packed = module.key
    guard module.config.family == .compressedTensors else {
      throw Refusal("the configuration does not say how weight_packed is packed")
    }
    try packed.require([.i32])
    scheme = try module.schemes.scheme(for: module.name)
    let (packedRows, words) = try packed.matrix()
    let shape = try module.require("weight_shape", .i64, .i32)
    guard shape.shape == [2] else { throw Refusal("weight_shape is \(shape.size), and not two numbers") }
    let sizes = try shape.integers()
    guard sizes.allSatisfy({ $0 > 0 }), sizes[0] == packedRows else {
      throw Refusal(
        "weight_shape is \(sizes), and weight_packed has \(PrintableText.counted(packedRows, "row"))")
    }
    rows = packedRows
    columns = UInt64(sizes[1])
    guard let bits = scheme?.bits, (1...8).contains(bits) else {
      throw Refusal("the configuration does not give its num_bits")
    }
    self.bits = UInt64(bits)
    isStream = try Self.isStream(columns, self.bits, words, module.schemes.version)
    // What is multiplied here and below fits, since the words hold it.
    _ = try product([rows, columns, 8])
  }

  /// True if codes are a stream of bits, false if each word holds whole ones. Refuses words that hold neither.
  private static func isStream(_ count: UInt64, _ bits: UInt64, _ words: UInt64, _ version: (Int, Int)?)
    throws(Refusal) -> Bool
  {
    let dense = divided(try product([count, bits]), by: 32)
    let whole = divided(count, by: 32 / bits)
    let isDense = words == dense
    let isWhole = words == whole
    guard isDense || isWhole else {
      throw Refusal(
        "weight_packed has \(words) words in a row, and \(count) columns of \(bits) bits need \(dense)")
    }
    if 32 % bits == 0 || !isWhole { return true }
    if !isDense { return false }
    guard let version else {
      throw Refusal(
        "\(count) columns of \(bits) bits may be packed in two ways, and the configuration has no version")
    }
    return version >= (0, 18)
  }

  private func tensor() throws(Refusal) -> QuantizedTensor {
    try module.refuseOthers("weight_scale_inv", "weight_scale_2", "weight_global_scale")
    let scale = try module.require("weight_scale", .f32, .bf16, .f16)
    let blocks = try blocks(scale)
    var parts = [packed, scale]
    var arithmetic = DequantizationArithmetic(
      count: try product([rows, columns]), columns: columns,
      codes: QuantizedCodes(
        view: try packed.view(), rowBytes: packed.shape[1] * 4, width: Int(bits),
        packing: isStream ? .stream : .words, values: .offset),
      scales: ScaleGrid(view: try scale.view(), blocks: blocks))
    if let (zeros, part) = try zeros(scale, blocks) {
      arithmetic.zeros = zeros
      parts.append(part)
    }
    if let index = module.part("weight_g_idx") {
      parts.append(index)
      arithmetic.groupIndex = try index.groupIndex(columns: columns, groups: blocks.columns)
    } else if scheme?.isReordered == true, blocks.columns > 1 {
      throw Refusal("weight_g_idx is missing, and the scheme reorders columns")
    }
    return QuantizedTensor(
      name: TensorName(utf8: module.prefix + "weight".utf8), shape: [rows, columns], format: .packedInteger,
      sources: parts.map(\.place), arithmetic: arithmetic)
  }

  private func blocks(_ scale: TensorPart) throws(Refusal) -> BlockGrid {
    let shape = scale.shape
    let strategy = scheme?.strategy ?? ""
    if shape.isEmpty || shape == [1] {
      guard strategy == "tensor" else { throw misfit(scale) }
      _ = try scale.singleScale()
      return BlockGrid(matrixRows: rows, rowBlock: rows, columnBlock: columns, rows: 1, columns: 1)
    }
    var size = columns
    switch strategy {
    case "channel": break
    case "group", "tensor_group":
      size = UInt64(exactly: scheme?.groupSize ?? 0) ?? 0
      guard size > 0, columns % size == 0 else {
        throw Refusal("groups of \(scheme?.groupSize ?? 0) do not divide \(columns) columns")
      }
    default: throw misfit(scale)
    }
    try scale.require(shape: [rows, columns / size], "\(rows)x\(columns) in groups of \(size)")
    return BlockGrid(
      matrixRows: rows, rowBlock: 1, columnBlock: size, rows: rows, columns: columns / size)
  }

  private func misfit(_ scale: TensorPart) -> Refusal {
    Refusal(
      "weight_scale is \(scale.size), and the strategy is \(PrintableText.quoted(scheme?.strategy ?? ""))")
  }

  private func zeros(_ scale: TensorPart, _ blocks: BlockGrid) throws(Refusal) -> (ZeroPoints, TensorPart)? {
    let isSymmetric = scheme?.isSymmetric ?? true
    guard let part = module.part("weight_zero_point") else {
      if !isSymmetric { throw Refusal("weight_zero_point is missing, and the scheme is not symmetric") }
      return nil
    }
    if isSymmetric {
      guard part.dtype == .i8, try part.bytes().allSatisfy({ $0 == 0 }) else {
        throw Refusal("it has a weight_zero_point, and the scheme is symmetric")
      }
      return nil
    }
    if part.dtype == .i8 {
      try part.require(shape: scale.shape, "weight_scale of that shape")
      return (ZeroPoints(view: try part.view(), packing: .bytes, width: 8, groups: blocks.columns), part)
    }
    try part.require([.i32])
    let words = isStream ? divided(rows * bits, by: 32) : divided(rows, by: 32 / bits)
    try part.require(shape: [words, blocks.columns], "\(rows) rows of \(bits) bits")
    let zeros = ZeroPoints(
      view: try part.view(), packing: .alongRows, width: Int(bits), inWords: !isStream,
      offset: 1 << (bits - 1),
      groups: blocks.columns)
    return (zeros, part)
  }
}
