internal import PyTorch
internal import Safetensors

/// What a person is told of a file of PyTorch that is refused.
extension FormatError {
  /// One clause: what is wrong, where, and what would help. Safe to print.
  var clause: String {
    let place = offset.map { " (byte \($0))" } ?? ""
    switch problem {
    case .noPickle: return ForeignFormat.zip.description
    case .global(let module, let name):
      return
        "this file wants to run \(PrintableText.quoted(module + [UInt8(ascii: ".")] + name))\(place): refused, and "
        + "nothing was run; tensors alone need no code: ask for the state_dict, or save it with torch.save"
    case .opcode(let byte):
      let name = Self.opcodeNames.first { $0.key == byte }?.value ?? "0x" + String(byte, radix: 16)
      return "its pickle has the opcode \(name)\(place), which PyTorch does not write: refused"
    case .malformed(let subject, let text): return "\(subject.clause) \(text)\(place)"
    case .truncated:
      return "truncated: it ends at byte \(offset ?? 0), in the midst of things; fetch it again"
    case .trailing(let count):
      return
        "\(PrintableText.counted(count, "byte")) too many after the last storage\(place); --lenient ignores them"
    case .bigEndian: return "its numbers are big-endian\(place): save it anew on a little-endian machine"
    case .unreadable(let errno): return "cannot read it: \(errno)"
    }
  }

  /// What the opcodes that are refused are called: pickletools.
  private static let opcodeNames: KeyValuePairs<UInt8, String> = [
    0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x46: "FLOAT", 0x49: "INT", 0x4C: "LONG", 0x50: "PERSID",
    0x53: "STRING", 0x56: "UNICODE", 0x64: "DICT", 0x67: "GET", 0x69: "INST", 0x6C: "LIST", 0x6F: "OBJ",
    0x70: "PUT", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8B: "LONG4", 0x8D: "BINUNICODE8",
    0x8E: "BINBYTES8", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
  ]
}

extension FormatError.Subject {
  fileprivate var clause: String {
    switch self {
    case .file: "the file is broken:"
    case .entry(let name): "entry \(PrintableText.quoted(name)) of the archive"
    case .pickle: "its pickle is broken:"
    case .tensor(let name): "tensor \(PrintableText.quoted(name))"
    case .storage(let key): "storage \(PrintableText.quoted(key))"
    }
  }
}
