package import Models
package import Safetensors

/// The extended attributes of a tensor's files: the fields of its entry in metadata.json.
package struct ExtendedAttributes {
  private static let prefix = "user.safetensors."

  /// Each name, with a function that returns its value; nil if a tensor has none.
  private static let all: [(name: [UInt8], value: @Sendable (Tensor, Shard) -> [UInt8]?)] = [
    (name("name"), { tensor, _ in Array(tensor.name.utf8) }),
    (name("dtype"), { tensor, _ in Array(tensor.dtype.name.utf8) }),
    (name("shape"), { tensor, _ in list(tensor.shape) }),
    (name("source"), { _, shard in shard.isStored ? Array(shard.name.utf8) : nil }),
    (name("offset"), { tensor, shard in tensor.isContiguous ? offset(tensor, shard) : nil }),
    // If its bytes are not contiguous in the file: the position of its first element, and the strides.
    (name("origin"), { tensor, shard in tensor.isContiguous ? nil : offset(tensor, shard) }),
    (name("strides"), { tensor, _ in tensor.strides.map(list) }),
    // If it is computed: its format and formula.
    (
      name("quantization"),
      { tensor, shard in quantization(tensor, shard).map { Array($0.rawValue.utf8) } }
    ),
    (name("formula"), { tensor, shard in quantization(tensor, shard).map { Array($0.formula.utf8) } }),
  ]

  /// XATTR_SIZE_MAX of limits.h. A longer value fails with E2BIG, so the rest of it is not written.
  private static let maximumValue = 65_536

  private static func list(_ numbers: ArraySlice<UInt64>) -> [UInt8] {
    var text = Array("[".utf8)
    for number in numbers where text.count <= maximumValue {
      if text.count > 1 { text += ", ".utf8 }
      text += String(number).utf8
    }
    return text + "]".utf8
  }

  private static func offset(_ tensor: Tensor, _ shard: Shard) -> [UInt8]? {
    shard.storedRange(of: tensor).map { Array(String($0.range.lowerBound).utf8) }
  }

  private static func quantization(_ tensor: Tensor, _ shard: Shard) -> QuantizationFormat? {
    if case .computed(let quantized, _) = shard.source(of: tensor) { quantized.format } else { nil }
  }

  private static func name(_ name: String) -> [UInt8] { Array((prefix + name).utf8) }

  /// The names of a tensor's attributes.
  package static func names(of tensor: Tensor, _ shard: Shard) -> [[UInt8]] {
    all.filter { $0.value(tensor, shard) != nil }.map(\.name)
  }

  /// The value of the attribute of this name, or nil.
  package static func value(of name: [UInt8], _ tensor: Tensor, _ shard: Shard) -> [UInt8]? {
    all.first { $0.name == name }?.value(tensor, shard)
  }
}
