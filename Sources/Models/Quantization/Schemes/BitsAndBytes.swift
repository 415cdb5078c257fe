internal import Safetensors

/// bitsandbytes: `nf4` and `fp4`, with blocks that span row ends, and the int8 of LLM.int8.
enum BitsAndBytes {
  /// 1/127, as written in the reference's source.
  private static let inverse: Float = 0.007874015718698502
  private static let blockSizes: Set<Int> = [32, 64, 128, 256, 512, 1024, 2048, 4096]

  /// Reads an LLM.int8 module. Its key is `weight`, of I8.
  static func int8(_ module: QuantizedModule, _ scale: TensorPart) throws(Refusal) -> QuantizedTensor {
    let weight = module.key
    let (rows, columns) = try weight.matrix()
    try module.refuseOthers("weight_scale", "weight_scale_inv")
    try scale.require([.f32])
    try scale.require(shape: [rows], "\(PrintableText.counted(rows, "row"))")
    if let format = module.part("weight_format"), try format.bytes(limit: 8).contains(where: { $0 != 0 }) {
      throw Refusal("weight_format is not 0 (row-major)")
    }
    return QuantizedTensor(
      name: weight.tensor.name, shape: weight.shape, format: .bitsAndBytesInt8,
      sources: [weight.place, scale.place],
      arithmetic: DequantizationArithmetic(
        count: try product([rows, columns]), columns: columns,
        codes: QuantizedCodes(
          view: try weight.view(), rowBytes: columns, width: 8, packing: .stream, values: .signed),
        scales: ScaleGrid(
          view: try scale.view(),
          blocks: BlockGrid(of: (rows, columns), (1, columns))),
        factor: inverse))
  }

  /// Reads a 4-bit tensor. The module's key is the quantisation state, and its prefix is the weight's name
  /// and a dot.
  static func fourBits(_ module: QuantizedModule, type: String) throws(Refusal) -> QuantizedTensor {
    guard let packed = module.index.part(TensorName(utf8: module.name)) else {
      throw Refusal("its weight is missing")
    }
    let state: ConfigValue
    do {
      state = try ConfigValue(reading: try module.key.bytes(limit: 1 << 20))
    } catch let error as JSONError {
      throw Refusal("invalid JSON in its quant_state at byte \(error.offset)")
    } catch {
      throw (error as? Refusal) ?? Refusal("cannot read its quant_state")
    }
    guard state["quant_type"]?.string == type else { throw Refusal("its quant_state is not of type \(type)") }
    guard let blockSize = state["blocksize"]?.integer, blockSizes.contains(blockSize) else {
      throw Refusal("its quant_state has no block size of 32 to 4096")
    }
    let sizes = state["shape"]?.array?.compactMap(\.integer) ?? []
    guard !sizes.isEmpty, sizes.count == state["shape"]?.array?.count, sizes.allSatisfy({ $0 > 0 }) else {
      throw Refusal("its quant_state has no shape")
    }
    let shape = sizes.map { UInt64($0) }
    let count = try product(shape)
    let needed = divided(count, by: 2)
    // The bytes are stored as elements of any dtype, so the last element may be padded.
    guard packed.tensor.byteCount >= needed, packed.tensor.byteCount - needed < 8 else {
      throw Refusal(
        "its quant_state has a shape of \(count) values, but the tensor has \(packed.tensor.byteCount) bytes of 2 codes"
      )
    }
    let isNormal = type == "nf4"
    let map = try module.require("quant_map", .f32)
    guard try map.floats() == (isNormal ? FourBitTables.normalFloats : FourBitTables.bitsAndBytesFloats)
    else {
      throw Refusal("quant_map is not the standard table of \(type)")
    }
    let blocks = divided(count, by: UInt64(blockSize))
    let (scales, parts) = try self.scales(module, state, blocks: blocks, blockSize: UInt64(blockSize), count)
    return QuantizedTensor(
      name: packed.tensor.name, shape: shape, format: isNormal ? .normalFloat4 : .float4,
      sources: ([packed] + parts + [map, module.key]).map(\.place),
      arithmetic: DequantizationArithmetic(
        count: count, columns: count,
        codes: QuantizedCodes(
          view: try packed.bytesView(), rowBytes: packed.tensor.byteCount, width: 4,
          packing: .highNibbleFirst, values: isNormal ? .normalFloat4 : .bitsAndBytesFloat4),
        scales: scales))
  }

  private static func scales(
    _ module: QuantizedModule, _ state: ConfigValue, blocks: UInt64, blockSize: UInt64, _ count: UInt64
  ) throws(Refusal) -> (ScaleGrid, [TensorPart]) {
    let absmax = try module.require("absmax", .f32, .u8)
    try absmax.require(shape: [blocks], "\(count) values in blocks of \(blockSize)")
    var grid = ScaleGrid(
      view: try absmax.view(),
      blocks: BlockGrid(of: (1, count), (1, blockSize)))
    let isNested = state["nested_blocksize"] != nil
    guard isNested == (absmax.dtype == .u8) else {
      throw Refusal(
        "absmax is \(absmax.dtype.name), but quant_state says that it is \(isNested ? "" : "not ")nested")
    }
    guard isNested else { return (grid, [absmax]) }
    guard let nestedSize = state["nested_blocksize"]?.integer, nestedSize > 0,
      let offset = state["nested_offset"]?.float, offset.isFinite,
      state["nested_dtype"]?.string ?? "float32" == "float32"
    else { throw Refusal("its quant_state lacks nested_offset or nested_blocksize") }
    let outer = try module.require("nested_absmax", .f32)
    try outer.require(
      shape: [divided(blocks, by: UInt64(nestedSize))], "\(blocks) scales in blocks of \(nestedSize)")
    let map = try module.require("nested_quant_map", .f32)
    try map.require(shape: [256], "an 8-bit index")
    let entries = try map.floats()
    guard entries.allSatisfy(\.isFinite) else {
      throw Refusal("nested_quant_map contains NaN or infinity")
    }
    grid.form = .nested(
      map: entries, absmax: try outer.view(), blockSize: UInt64(nestedSize), offset: offset)
    return (grid, [absmax, outer, map])
  }
}
