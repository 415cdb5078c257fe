internal import PyTorch
internal import Safetensors

/// The message about a PyTorch file that stmount refuses.
extension FormatError {
  /// One clause: the problem, the byte at which it is, and the remedy. Safe to print.
  var clause: String {
    let place = offset.map { " (byte \($0))" } ?? ""
    switch problem {
    case .noPickle: return ForeignFormat.zip.description
    case .foreign(.package):
      return
        "this is a torch.package archive (code and data); load it with torch.package, and save the state_dict"
    case .foreign(.exported):
      return
        "this is a torch.export program (.pt2) whose weights are pickles or code, as before PyTorch 2.9; load it with "
        + "torch.export.load, and save its state_dict"
    case .foreign(.oldTorchScript):
      return
        "this is TorchScript of PyTorch 1.0 to 1.2 (model.json); load it with torch.jit.load of PyTorch 1.3, and save it again"
    case .global(let name, let isCalled):
      return
        "refused: its pickle \(isCalled ? "calls" : "names") \(PrintableText.quoted(name))\(place), which no model needs; "
        + "nothing was executed; do not load this file with torch.load"
    case .compressed(let entry):
      return
        "entry \(PrintableText.quoted(entry)) of the archive is compressed\(place); repack the archive: "
        + "unzip FILE -d DIR, then (cd DIR && zip -0 -r ../NEW.pt .); or load and torch.save it again"
    case .opcode(let byte):
      let name = Self.opcodeNames.first { $0.key == byte }?.value ?? "0x" + String(byte, radix: 16)
      return "refused: its pickle has the opcode \(name)\(place), which PyTorch does not write; "
        + "do not load this file with torch.load"
    case .malformed(let subject, let text): return "\(subject.clause) \(text)\(place); \(subject.remedy)"
    case .truncated:
      return "truncated at byte \(offset ?? 0); download it again"
    case .trailing(let count):
      return
        "\(PrintableText.counted(count, "unexpected byte")) after the last storage\(place); use --lenient to ignore them"
    case .bigEndian: return "big-endian numbers\(place); load and save the file on a little-endian machine"
    case .unreadable(let errno): return "cannot read it: \(errno)"
    }
  }

  /// Names in pickletools of the refused opcodes.
  private static let opcodeNames: KeyValuePairs<UInt8, String> = [
    0x32: "DUP", 0x50: "PERSID", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
  ]
}

extension FormatError.Subject {
  fileprivate var clause: String {
    switch self {
    case .file: "invalid PyTorch file:"
    case .entry(let name): "entry \(PrintableText.quoted(name)) of the archive"
    case .pickle: "invalid pickle:"
    case .tensor(let name): "tensor \(PrintableText.quoted(name))"
    case .storage(let key): "storage \(PrintableText.quoted(key))"
    }
  }

  /// What to do about a file that violates its format.
  fileprivate var remedy: String {
    switch self {
    case .file, .entry, .storage: "download it again"
    case .pickle, .tensor: "get another copy, and do not load this one with torch.load"
    }
  }
}
