internal import Safetensors

/// A shard's `__metadata__` as the header of another file has it, written once for all its tensors.
struct ShardMetadata: Sendable {
  /// `{`, and the entry with its comma if there is one.
  let json: [UInt8]

  init(of shard: Shard) {
    var json = Array("{".utf8)
    let metadata = shard.header.metadata
    if !metadata.isEmpty {
      json += "\"__metadata__\":{".utf8
      for (position, entry) in metadata.enumerated() {
        if position > 0 { json += ",".utf8 }
        appendString(entry.key, to: &json)
        json += ":".utf8
        appendString(entry.value, to: &json)
      }
      json += "},".utf8
    }
    self.json = json
  }
}

/// The header of a safetensors file that holds one tensor.
enum SingleTensorHeader {
  /// The length, what the shard's tensors have in common, and the tensor's own entry. As the reference writes it:
  /// no space but at the end, up to a multiple of 8 bytes.
  static func pieces(_ tensor: Tensor, _ metadata: ShardMetadata) -> [[UInt8]] {
    var entry: [UInt8] = []
    appendString(tensor.name.utf8, to: &entry)
    entry += ":{\"dtype\":\"".utf8
    entry += tensor.dtype.name.utf8
    entry += "\",\"shape\":[".utf8
    for (position, dimension) in tensor.shape.enumerated() {
      if position > 0 { entry += ",".utf8 }
      entry += String(dimension).utf8
    }
    entry += "],\"data_offsets\":[0,".utf8
    entry += String(tensor.byteCount).utf8
    entry += "]}}".utf8
    entry += repeatElement(UInt8(ascii: " "), count: (8 - (metadata.json.count + entry.count) % 8) % 8)
    let length = UInt64(metadata.json.count + entry.count)
    let prefix = (0..<8).map { UInt8(truncatingIfNeeded: length >> UInt64(8 * $0)) }
    return [prefix, metadata.json, entry]
  }
}

/// Appends a string in the fewest bytes that JSON has for it. So a header never becomes longer than the one its
/// parts come from, and never too long for readers.
private func appendString(_ utf8: ArraySlice<UInt8>, to json: inout [UInt8]) {
  json.append(UInt8(ascii: "\""))
  for byte in utf8 {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): json += [UInt8(ascii: "\\"), byte]
    case 0x08: json += "\\b".utf8
    case 0x09: json += "\\t".utf8
    case 0x0A: json += "\\n".utf8
    case 0x0C: json += "\\f".utf8
    case 0x0D: json += "\\r".utf8
    case 0..<0x20: json += "\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8
    default: json.append(byte)
    }
  }
  json.append(UInt8(ascii: "\""))
}
