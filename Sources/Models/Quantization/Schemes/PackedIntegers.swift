internal import Safetensors

/// compressed-tensors' pack-quantized: integers of 1 to 8 bits in 32-bit words, `weight_packed` with
/// `weight_shape`.
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
    try module.withScheme(isInteger: true) { scheme throws(Refusal) in
      try PackedIntegers(module, scheme).tensor()
    }
  }

  private init(_ module: QuantizedModule, _ scheme: CompressionSchemes.Scheme?) throws(Refusal) {
    self.module = module
    self.scheme = scheme
    packed = module.key
    guard module.config.family == .compressedTensors else {
      throw Refusal("the configuration does not say how weight_packed is packed")
    }
    try packed.require([.i32])
    let (packedRows, words) = try packed.matrix()
    let shape = try module.require("weight_shape", .i64, .i32)
    guard shape.shape == [2] else { throw Refusal("weight_shape is \(shape.size), not two numbers") }
    let sizes = try shape.integers()
    guard sizes.allSatisfy({ $0 > 0 }), sizes[0] == packedRows else {
      throw Refusal(
        "weight_shape is \(sizes), but weight_packed has \(PrintableText.counted(packedRows, "row"))")
    }
    rows = packedRows
    columns = UInt64(sizes[1])
    guard let bits = scheme?.bits, (1...8).contains(bits) else {
      throw Refusal("the configuration does not say its num_bits")
    }
    self.bits = UInt64(bits)
    isStream = try Self.isStream(columns, self.bits, words, module.schemes.version)
    // Later products cannot overflow, since the words hold that many codes.
    _ = try product([rows, columns, 8])
  }

  /// True if codes are a stream of bits, false if each word holds whole codes. Refuses a number of words that
  /// fits neither.
  private static func isStream(_ count: UInt64, _ bits: UInt64, _ words: UInt64, _ version: (Int, Int)?)
    throws(Refusal) -> Bool
  {
    let dense = divided(try product([count, bits]), by: 32)
    let whole = divided(count, by: 32 / bits)
    let isDense = words == dense
    let isWhole = words == whole
    guard isDense || isWhole else {
      throw Refusal(
        "weight_packed has \(words) words in a row, but \(count) columns of \(bits) bits need \(dense)")
    }
    if 32 % bits == 0 || !isWhole { return true }
    if !isDense { return false }
    guard let version else {
      throw Refusal(
        "\(count) columns of \(bits) bits can be packed in two ways, and the configuration has no version")
    }
    return version >= (0, 18)
  }

  private func tensor() throws(Refusal) -> QuantizedTensor {
    try module.refuseOthers("weight_scale_inv", "weight_scale_2", "weight_global_scale")
    let scale = try module.require("weight_scale", .f32, .bf16, .f16)
    guard let scheme else { throw Refusal("no group in config_groups matches it") }
    let blocks = try scheme.blocks(scale, of: [rows, columns])
    var parts = [packed, scale]
    var arithmetic = DequantizationArithmetic(
      count: try product([rows, columns]), columns: columns,
      codes: QuantizedCodes(
        view: try packed.view(), rowBytes: packed.shape[1] * 4, width: Int(bits),
        packing: isStream ? .stream : .words, values: .offset),
      scales: ScaleGrid(view: try scale.view(), blocks: blocks))
    if let (zeros, part) = try zeros(scheme, scale, blocks) {
      arithmetic.zeros = zeros
      parts.append(part)
    }
    if let index = module.part("weight_g_idx") {
      guard blocks.rowBlock == 1 else { throw Refusal("it has a weight_g_idx, but no groups of columns") }
      parts.append(index)
      arithmetic.groupIndex = try index.groupIndex(columns: columns, groups: blocks.columns)
    } else if scheme.isReordered, blocks.columns > 1 {
      throw Refusal("weight_g_idx is missing, but the scheme reorders columns")
    }
    return QuantizedTensor(
      name: TensorName(utf8: module.prefix + "weight".utf8), shape: [rows, columns], format: .packedInteger,
      sources: parts.map(\.place), arithmetic: arithmetic)
  }

  private func zeros(_ scheme: CompressionSchemes.Scheme, _ scale: TensorPart, _ blocks: BlockGrid)
    throws(Refusal) -> (ZeroPoints, TensorPart)?
  {
    guard let part = module.part("weight_zero_point") else {
      if !scheme.isSymmetric {
        throw Refusal("weight_zero_point is missing, but the scheme is not symmetric")
      }
      return nil
    }
    if scheme.isSymmetric {
      guard part.dtype == .i8, try part.bytes().allSatisfy({ $0 == 0 }) else {
        throw Refusal("it has a weight_zero_point, but the scheme is symmetric")
      }
      return nil
    }
    if part.dtype == .i8 {
      try part.require(shape: scale.shape, "weight_scale of that shape")
      return (ZeroPoints(view: try part.view(), packing: .bytes, width: 8, groups: blocks.columns), part)
    }
    try part.require([.i32])
    guard blocks.rowBlock == 1 else {
      throw Refusal("weight_zero_point is packed, but there are no groups of columns")
    }
    let words = isStream ? divided(rows * bits, by: 32) : divided(rows, by: 32 / bits)
    try part.require(shape: [words, blocks.columns], "\(rows) rows of \(bits) bits")
    let zeros = ZeroPoints(
      view: try part.view(), packing: .alongRows, width: Int(bits), inWords: !isStream,
      offset: 1 << (bits - 1),
      groups: blocks.columns)
    return (zeros, part)
  }
}
