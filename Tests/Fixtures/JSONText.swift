/// Writes the JSON that the fixtures need.
enum JSONText {
  /// A string literal. Bytes that are not UTF-8 are written as they are.
  static func string(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var text: [UInt8] = [UInt8(ascii: "\"")]
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        text += [UInt8(ascii: "\\"), byte]
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        text += Array("\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)".utf8)
      default:
        text.append(byte)
      }
    }
    return text + [UInt8(ascii: "\"")]
  }

  /// An object of entries whose values are already JSON.
  static func object(_ entries: [(key: [UInt8], value: [UInt8])]) -> [UInt8] {
    var text: [UInt8] = [UInt8(ascii: "{")]
    for (position, entry) in entries.enumerated() {
      if position > 0 { text.append(UInt8(ascii: ",")) }
      text += entry.key + [UInt8(ascii: ":")] + entry.value
    }
    return text + [UInt8(ascii: "}")]
  }
}
