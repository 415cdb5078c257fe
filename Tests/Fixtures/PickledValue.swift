/// A value in a pickle of protocol 2, which PyTorch writes.
public indirect enum PickledValue: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case tuple([PickledValue])
  case list([PickledValue])
  case dictionary(KeyValuePairs<String, PickledValue>)
  /// A dictionary with keys of any type.
  case pairs([(PickledValue, PickledValue)])
  /// A name to import: `global("torch", "FloatStorage")`.
  case global(String, String)
  /// A call: REDUCE.
  case call(PickledValue, [PickledValue])
  /// An object made without arguments: NEWOBJ.
  case instance(PickledValue)
  /// A state given to a value: BUILD.
  case state(PickledValue, PickledValue)
  /// A persistent id, which refers to something outside of the pickle: BINPERSID.
  case persistent(PickledValue)
  /// Opcodes that leave one value on the stack.
  case raw([UInt8])

  /// An OrderedDict, such as a state dict.
  public static func ordered(_ entries: KeyValuePairs<String, PickledValue>) -> PickledValue {
    .raw(
      PickledValue.call(.global("collections", "OrderedDict"), []).opcodes
        + [0x28] + entries.flatMap { PickledValue.string($0.key).opcodes + $0.value.opcodes } + [0x75])
  }

  /// A whole pickle: PROTO, the value, STOP.
  public var pickle: [UInt8] { [0x80, 2] + opcodes + [0x2E] }

  /// The opcodes that leave the value on the stack.
  public var opcodes: [UInt8] {
    switch self {
    case .none: [0x4E]
    case .bool(let value): [value ? 0x88 : 0x89]
    case .int(let value):
      if let byte = UInt8(exactly: value) {
        [0x4B, byte]
      } else if let word = UInt16(exactly: value) {
        [0x4D] + bytes(word)
      } else if let word = Int32(exactly: value) {
        [0x4A] + bytes(word)
      } else {
        [0x8A, 8] + bytes(Int64(value))
      }
    case .float(let value): [0x47] + bytes(value.bitPattern.byteSwapped)
    case .string(let text): [0x58] + bytes(UInt32(text.utf8.count)) + Array(text.utf8)
    case .tuple(let items): [0x28] + items.flatMap(\.opcodes) + [0x74]
    case .list(let items): [0x5D, 0x28] + items.flatMap(\.opcodes) + [0x65]
    case .dictionary(let entries):
      [0x7D, 0x28] + entries.flatMap { PickledValue.string($0.key).opcodes + $0.value.opcodes } + [0x75]
    case .pairs(let entries): [0x7D, 0x28] + entries.flatMap { $0.0.opcodes + $0.1.opcodes } + [0x75]
    case .global(let module, let name): [0x63] + Array("\(module)\n\(name)\n".utf8)
    case .call(let function, let arguments): function.opcodes + PickledValue.tuple(arguments).opcodes + [0x52]
    case .instance(let type): type.opcodes + [0x29, 0x81]
    case .state(let value, let state): value.opcodes + state.opcodes + [0x62]
    case .persistent(let id): id.opcodes + [0x51]
    case .raw(let opcodes): opcodes
    }
  }
}

/// A number, little-endian.
func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
  (0..<number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
}
