internal import Safetensors

/// Unsupported formats, recognised by their tensors' names.
enum ForeignScheme {
  /// For each format: a component of a tensor's name, the tensor that must be beside it (the same name if
  /// none is needed), and the format's name.
  private static let signs: [(component: [UInt8], beside: String, scheme: String)] = [
    ("W_q", "nbits", "HQQ"), ("W_q", "scale", "HQQ"), ("_data", "_scale", "quanto"),
    ("weight", "weight_scales", "EETQ"), ("codes", "codebooks", "AQLM"),
    ("indices", "centroids", "VPTQ"), ("indices", "centroids.weight", "VPTQ"), ("weight", "tables2", "HIGGS"),
    ("Qidxs", "SU", "QuIP#"), ("q_weight", "q_scale", "EXL2"), ("trellis", "suh", "EXL3"),
    ("_weight_qdata", "_weight_qdata", "torchao"), ("bitmask", "compressed", "2:4 sparsity"),
    ("meta", "scale_packed", "marlin-24"), ("weight", "comfy_quant", "ComfyUI"),
    ("weight", "scale_weight", "ComfyUI"), ("weight", "weight_quant_state", "GPTQModel's bitsandbytes"),
    ("weight", "weight_scb", "GPTQModel's bitsandbytes"),
  ].map { (Array($0.0.utf8), $0.1, $0.2) }

  private static let nested = "._data._data"

  /// The unsupported format that a tensor belongs to, or nil.
  static func name(of key: TensorPart, _ index: TensorIndex) -> String? {
    let name = key.tensor.name.utf8
    guard let dot = name.lastIndex(of: UInt8(ascii: ".")) else { return nil }
    let component = name[(dot + 1)...]
    let prefix = name[...dot]
    func has(_ part: String) -> Bool { index.place(of: TensorName(utf8: prefix + part.utf8)) != nil }
    if key.dtype == .u32, component.elementsEqual("weight".utf8), has("scales") { return "MLX" }
    // Only dtypes of codes, so that most tensors need no search.
    guard [.u8, .i8, .i16, .i32, .i64, .u16, .u32, .f8e4m3, .f8e5m2].contains(key.dtype) else { return nil }
    // Inside the weight, quanto stores packed codes as a separate tensor.
    if name.suffix(nested.utf8.count).elementsEqual(nested.utf8) { return "quanto" }
    return signs.first { component.elementsEqual($0.component) && has($0.beside) }?.scheme
  }
}
