internal import Safetensors

/// The extended attributes of a tensor's files: what metadata.json says of it, one by one.
struct ExtendedAttributes {
  private static let prefix = "user.safetensors."

  /// Each name with how to get its value.
  private static let all: [(name: [UInt8], value: @Sendable (Tensor, Shard) -> [UInt8])] = [
    (name("name"), { tensor, _ in Array(tensor.name.utf8) }),
    (name("dtype"), { tensor, _ in Array(tensor.dtype.name.utf8) }),
    (
      name("shape"),
      { tensor, _ in Array("[\(tensor.shape.map(\.description).joined(separator: ", "))]".utf8) }
    ),
    (name("source"), { _, shard in Array(shard.name.utf8) }),
    (name("offset"), { tensor, shard in Array(String(shard.fileRange(of: tensor).lowerBound).utf8) }),
  ]

  /// Their names.
  static let names = all.map(\.name)

  private static func name(_ name: String) -> [UInt8] { Array((prefix + name).utf8) }

  /// The value of the attribute of this name; nil where there is none.
  static func value(of name: [UInt8], _ tensor: Tensor, _ shard: Shard) -> [UInt8]? {
    all.first { $0.name == name }?.value(tensor, shard)
  }
}
