internal import Safetensors

/// 4-bit floating-point numbers (E2M1), two per byte, low half first: NVFP4 and MXFP4 of compressed-tensors,
/// NVFP4 of ModelOpt, the experts of DeepSeek-V4.
enum FourBitWeights {
  /// Reads a compressed-tensors module. Its key is `weight_packed`, of U8.
  static func compressed(_ module: QuantizedModule) throws(Refusal) -> QuantizedTensor {
    let scale = try module.require("weight_scale", .f8e4m3, .u8, .f8e8m0)
    let global = module.part("weight_global_scale")
    if module.part("weight_scale_2") != nil {
      throw Refusal(
        "it has weight_scale_2, a multiplier, but compressed-tensors uses weight_global_scale, a divisor"
      )
    }
    guard scale.dtype == .f8e4m3 else {
      if global != nil { throw Refusal("it has a global scale, but its scales are powers of two") }
      return try tensor(module, scale, groupSize: 32, format: .microscaledFloat4)
    }
    guard let global else { throw Refusal("weight_global_scale is missing") }
    // A divisor.
    return try tensor(
      module, scale, groupSize: 16, format: .nvfp4, global: global, form: { .divided($0) })
  }

  /// Reads a ModelOpt module. Its key is `weight`, of U8. Nil if it lacks NVFP4's scales.
  static func modelOpt(_ module: QuantizedModule) throws(Refusal) -> QuantizedTensor? {
    guard let scale = module.part("weight_scale") else { return nil }
    guard let global = module.part("weight_scale_2") else {
      switch module.config.family {
      case .modelOpt where module.config.excludes(module.name): return nil
      case .modelOpt: throw Refusal("weight_scale_2 is missing")
      default:
        throw Refusal("a U8 weight with only \(scale.label) of \(scale.dtype.name) is no known format")
      }
    }
    if module.part("weight_global_scale") != nil {
      throw Refusal("it has both weight_global_scale (a divisor) and weight_scale_2 (a multiplier)")
    }
    try module.refuseTransformed()
    try scale.require([.f8e4m3])
    let groupSize = try isOfGroups(32, module, scale) ? 32 : 16 as UInt64
    // A multiplier.
    return try tensor(
      module, scale, groupSize: groupSize, format: .nvfp4, values: .modelOptFloat4, global: global,
      form: { .multiplied($0) })
  }

  /// True if ModelOpt's configuration gives the module this group size, and its scales have that shape.
  private static func isOfGroups(_ size: UInt64, _ module: QuantizedModule, _ scale: TensorPart)
    throws(Refusal) -> Bool
  {
    let settings = module.config.settings
    let layer = settings["quantized_layers"]?[String(decoding: module.name, as: UTF8.self)]
    let all = settings["config_groups"]?.object.map { $0.values.map { $0["weights"] } } ?? []
    let given = (layer ?? settings)["group_size"] ?? (all.count == 1 ? all[0]?["group_size"] : nil)
    let (rows, bytes) = try module.key.matrix()
    let groups = divided(try product([bytes, 2]), by: size)
    return given?.integer == Int(size) && scale.shape == [rows, groups]
  }

  /// Reads a DeepSeek-V4 module. Its key is `weight`, of I8; `scale` holds powers of two.
  static func deepSeek(_ module: QuantizedModule, _ scale: TensorPart) throws(Refusal) -> QuantizedTensor {
    try scale.require([.f8e8m0])
    if let type = module.config.model["expert_dtype"]?.string, type != "fp4" {
      throw Refusal("it is I8, but expert_dtype is \(PrintableText.quoted(type))")
    }
    return try tensor(module, scale, groupSize: 32, format: .microscaledFloat4)
  }

  private static func tensor(
    _ module: QuantizedModule, _ scale: TensorPart, groupSize: UInt64, format: QuantizationFormat,
    values: QuantizedCodes.Values = .float(.f4), global: TensorPart? = nil,
    form: (Float) -> ScaleGrid.Form = { _ in .plain }
  ) throws(Refusal) -> QuantizedTensor {
    let packed = module.key
    let (rows, bytes) = try packed.matrix()
    let columns = try product([bytes, 2])
    guard columns % groupSize == 0 else {
      throw Refusal("\(columns) columns are not a multiple of the group size \(groupSize)")
    }
    try scale.require(
      shape: [rows, columns / groupSize], "\(columns) columns in groups of \(groupSize)")
    var scales = ScaleGrid(
      view: try scale.view(),
      blocks: BlockGrid(of: (rows, columns), (1, groupSize)))
    if scale.dtype == .u8 { scales.view = scales.view.read(as: .f8e8m0) }
    if let zeros = module.part("weight_zero_point"), try zeros.bytes().contains(where: { $0 != 0 }) {
      throw Refusal("weight_zero_point is not 0, but the format has no zero points")
    }
    if let part = module.part("weight_g_idx"),
      try part.groupIndex(columns: columns, groups: columns / groupSize) != nil
    {
      throw Refusal("it has a weight_g_idx, which its format does not use")
    }
    if let global {
      try global.require([.f32])
      guard global.tensor.byteCount == 4 else {
        throw Refusal("\(global.label) is \(global.size), not one number")
      }
      scales.form = form(try global.singleScale())
    }
    return QuantizedTensor(
      name: TensorName(utf8: module.prefix + "weight".utf8), shape: [rows, columns], format: format,
      sources: [packed.place, scale.place] + (global.map { [$0.place] } ?? []),
      arithmetic: DequantizationArithmetic(
        count: try product([rows, columns]), columns: columns,
        codes: QuantizedCodes(
          view: try packed.view(), rowBytes: bytes, width: 4, packing: .stream, values: values),
        scales: scales))
  }
}
