internal import Safetensors

/// Tensors that only describe a weight's quantisation. Dequantised models omit them.
enum SideTensors {
  private static let names: Set<[UInt8]> = Set(
    [
      "weight_zero_point", "weight_g_idx", "weight_shape", "weight_global_scale", "weight_scale_2",
      "input_scale",
      "input_zero_point", "input_global_scale", "output_scale", "activation_scale", "input_scale_ub",
      "qscale_act",
      "SCB", "weight_format", "quant_map", "nested_absmax", "nested_quant_map", "g_idx",
    ].map { Array($0.utf8) })

  /// Scales of attention's keys and values. Some models have parameters with these names.
  private static let cacheScales: Set<[UInt8]> = Set(
    ["k_scale", "v_scale", "q_scale", "kv_scale"].map { Array($0.utf8) })
  /// The modules in which older writers store them.
  private static let cacheModules = ["k_proj", "v_proj", "qkv_proj"]

  /// Suffixes for weights that are not called `weight`, such as experts.
  private static let additions = ["_activation_scale", "_input_scale", "_input_scale_ub"]

  /// True if a tensor is a side tensor of one of these dequantised modules or tensors.
  static func isOne(_ name: TensorName, of done: Set<TensorName>, _ config: QuantizationConfig) -> Bool {
    let bytes = name.utf8
    if let dot = bytes.lastIndex(of: UInt8(ascii: ".")) {
      let component = Array(bytes[(dot + 1)...])
      let module = TensorName(utf8: bytes[..<dot])
      if names.contains(component), done.contains(module) { return true }
      if cacheScales.contains(component) { return config.hasKVCacheScheme || done.contains(module) }
      if component.elementsEqual("output_scale".utf8), config.hasKVCacheScheme {
        return cacheModules.contains { module.utf8.suffix($0.utf8.count).elementsEqual($0.utf8) }
      }
    }
    return additions.contains { addition in
      bytes.suffix(addition.utf8.count).elementsEqual(addition.utf8)
        && done.contains(TensorName(utf8: bytes.dropLast(addition.utf8.count)))
    }
  }
}
