/// Text from a file or a path, made safe to print.
///
/// A model comes from strangers, and its names may contain anything: escape sequences, bidirectional
/// overrides, a hundred kilobytes. All text for a person goes through here.
package enum PrintableText {
  /// The maximum number of bytes of a name in a message.
  package static let limit = 160

  /// The bytes between single quotes. Characters that could act on a terminal or mislead the eye are written
  /// as `\u{HEX}`, and bytes that are not UTF-8 as `\xHH`; long text is cut, and its length is stated.
  package static func quoted(_ bytes: some Collection<UInt8>) -> String {
    let count = bytes.count
    guard count > limit else { return "'" + escaped(bytes) + "'" }
    // The cut must not split a character: no continuation byte may follow it.
    let end = (limit - 3...limit).last { bytes[bytes.index(bytes.startIndex, offsetBy: $0)] & 0xC0 != 0x80 }
    return "'" + escaped(bytes.prefix(end ?? limit)) + "…' (\(count) bytes)"
  }

  /// As ``quoted(_:)-(Collection)``, for text that is a string already.
  package static func quoted(_ text: String) -> String { quoted(Array(text.utf8)) }

  /// Ordinary text as it is, otherwise in quotes; for columns, where quotes around every name would be noise.
  package static func plain(_ bytes: some Collection<UInt8>) -> String {
    let isPlain =
      !bytes.isEmpty && bytes.count <= limit
      && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "'") && $0 != UInt8(ascii: "\\") }
    return isPlain ? String(decoding: bytes, as: UTF8.self) : quoted(bytes)
  }

  /// The bytes with every unsafe scalar and every byte that is not UTF-8 escaped. Not cut.
  package static func escaped(_ bytes: some Collection<UInt8>) -> String {
    escaped(bytes) { scalar, result in
      if scalar == "\\" || scalar == "'" { result += "\\" }
      append(scalar, to: &result)
    }
  }

  private static func escaped(
    _ bytes: some Collection<UInt8>, _ append: (Unicode.Scalar, inout String) -> Void
  ) -> String {
    var result = ""
    var iterator = bytes.makeIterator()
    var rest = bytes[...]
    var decoder = Unicode.UTF8.ForwardParser()
    while true {
      switch decoder.parseScalar(from: &iterator) {
      case .valid(let encoded):
        rest = rest.dropFirst(encoded.count)
        append(Unicode.UTF8.decode(encoded), &result)
      case .error(let length):
        for byte in rest.prefix(length) { result += "\\x" + String(byte, radix: 16) }
        rest = rest.dropFirst(length)
      case .emptyInput:
        return result
      }
    }
  }

  /// A whole message as one line that is safe to print. Its quotes and backslashes stay, so a safe message does not
  /// change.
  package static func line(_ message: String) -> String { line(Array(message.utf8)) }

  /// As ``line(_:)-(String)``, for a message with bytes that are not UTF-8.
  package static func line(_ message: some Collection<UInt8>) -> String {
    escaped(message) { scalar, line in append(scalar, to: &line) }
  }

  private static func append(_ scalar: Unicode.Scalar, to result: inout String) {
    if isUnsafe(scalar) {
      result += "\\u{" + String(scalar.value, radix: 16) + "}"
    } else {
      result.unicodeScalars.append(scalar)
    }
  }

  /// True for scalars that are not shown as themselves: controls (C0, DEL, C1), format characters (bidirectional
  /// overrides, zero-width joiners), line and paragraph separators, and unassigned code points.
  package static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0xAD: return true
    // Latin letters and signs: looking up their category would take most of the time.
    case ..<0x300: return false
    default: break
    }
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse:
      return true
    default:
      return false
    }
  }

  /// A number of things as a person writes it: "1 byte", "2 bytes".
  package static func counted(_ count: some BinaryInteger, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
  }
}
