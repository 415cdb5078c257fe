/// Decodes the text of protocol 0: escapes, up to a newline.
enum PickledText {
  /// Decodes the argument of STRING, a Python 2 literal in quotes; nil for anything else.
  static func literal(_ line: ArraySlice<UInt8>) -> [UInt8]? {
    guard line.count >= 2, let quote = line.first, quote == line.last,
      quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"")
    else { return nil }
    var text: [UInt8] = []
    var rest = line.dropFirst().dropLast()
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        text.append(byte)
        continue
      }
      guard let escape = rest.popFirst() else { return nil }
      if let control = controls.first(where: { $0.key == escape }) {
        text.append(control.value)
      } else if escape == UInt8(ascii: "x") {
        guard let value = number(&rest, digits: 2) else { return nil }
        text.append(UInt8(truncatingIfNeeded: value))
      } else if (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(escape) {
        var value = UInt32(escape - 48)
        for _ in 0..<2 {
          guard let next = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(next) else { break }
          value = value * 8 + UInt32(next - 48)
          rest = rest.dropFirst()
        }
        text.append(UInt8(truncatingIfNeeded: value))
      } else if escape != UInt8(ascii: "\n") {
        text += [byte, escape]
      }
    }
    return text
  }

  /// Decodes the argument of UNICODE to UTF-8. It is Latin-1 with escapes of four and eight digits. Nil if an
  /// escape is incomplete or not a character.
  static func unicode(_ line: ArraySlice<UInt8>) -> [UInt8]? {
    var text: [UInt8] = []
    var rest = line
    while let byte = rest.popFirst() {
      var value = UInt32(byte)
      // UNICODE does not escape backslashes: two stay two.
      if byte == UInt8(ascii: "\\"), rest.first == byte {
        rest = rest.dropFirst()
        text += [byte, byte]
        continue
      }
      if byte == UInt8(ascii: "\\"), let next = rest.first,
        next == UInt8(ascii: "u") || next == UInt8(ascii: "U")
      {
        rest = rest.dropFirst()
        guard let escaped = number(&rest, digits: next == UInt8(ascii: "u") ? 4 : 8) else { return nil }
        value = escaped
      }
      guard let scalar = Unicode.Scalar(value) else { return nil }
      text += Array(String(Character(scalar)).utf8)
    }
    return text
  }

  private static let controls: KeyValuePairs<UInt8, UInt8> = [
    UInt8(ascii: "\\"): UInt8(ascii: "\\"), UInt8(ascii: "'"): UInt8(ascii: "'"),
    UInt8(ascii: "\""): UInt8(ascii: "\""), UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12,
    UInt8(ascii: "n"): 10, UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11,
  ]

  private static func number(_ rest: inout ArraySlice<UInt8>, digits: Int) -> UInt32? {
    guard rest.count >= digits, let text = String(validating: rest.prefix(digits), as: UTF8.self),
      text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") })
    else { return nil }
    rest = rest.dropFirst(digits)
    return UInt32(text, radix: 16)
  }
}
