import Fixtures

@testable import Models
@testable import Safetensors
@testable import TensorFiles

/// Text from strangers that is shown to users, in messages and in metadata.json.
enum TextFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    let texts = [
      "plain", "it's", "a\\b", "\u{1B}[31m", "\u{202E}gnp.exe", "é", "e\u{301}", "😀", "\u{200D}", "\u{FEFF}",
      "\u{E000}", "\u{FFFF}", "\u{2028}", "\0", "\u{7F}", "\u{9B}", String(repeating: "語", count: 60),
      String(repeating: "\n", count: 161),
    ]
    return texts.map { Array($0.utf8) } + [
      [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0xBD], [0xF4, 0x90, 0x80, 0x80],
    ]
  }

  static var words: [String] { ["\u{202E}", "\u{2066}", "\u{200B}", "\u{85}", "\u{E0001}", "\\u{", "\\x"] }

  static func test(_ input: [UInt8]) {
    let escaped = PrintableText.escaped(input)
    requireSafe(escaped)
    require(unescaped(escaped) == input, "unescaping does not restore the input")
    for shown in [PrintableText.quoted(input), PrintableText.plain(input)] {
      requireSafe(shown)
      // An escape has at most six characters for each byte of the input.
      require(shown.utf8.count <= PrintableText.limit * 6 + 40, "a long text is not cut")
    }
    let text = String(decoding: input, as: UTF8.self)
    requireSafe(PrintableText.line(text))
    require(PrintableText.line(escaped) == escaped, "a safe text is changed")
    writeJSON(Array(text.utf8))
  }

  private static func writeJSON(_ text: [UInt8]) {
    var json = JSONWriter()
    json.string(text[...])
    requireSafe(String(decoding: json.bytes, as: UTF8.self))
    var read: [UInt8] = []
    var cursor = JSONCursor(json.bytes.span)
    do throws(JSONError) {
      _ = try cursor.string(into: &read)
      try cursor.expectEnd()
    } catch {
      fatalError("JSON that was written is refused: \(error.problem)")
    }
    require(read == text, "JSON is not read as it was written")
  }

  /// Finds characters that must not be shown, without Unicode's tables.
  private static func requireSafe(_ text: String) {
    let isUnsafe = text.unicodeScalars.contains { scalar in
      switch scalar.value {
      case 0..<0x20, 0x7F..<0xA0, 0xAD, 0x61C, 0x180E, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x206F,
        0xFEFF,
        0xE000..<0xF900, 0xFFF9...0xFFFB, 0xFFFE, 0xFFFF, 0xE0000...0xE007F, 0xF0000...0x10FFFF:
        true
      default: false
      }
    }
    require(!isUnsafe, "it is not safe to print: \(text.debugDescription)")
  }

  /// The inverse of ``PrintableText/escaped(_:)``.
  private static func unescaped(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    var rest = text.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "\\" else {
        bytes += String(scalar).utf8
        continue
      }
      switch rest.popFirst() {
      case "\\": bytes.append(UInt8(ascii: "\\"))
      case "'": bytes.append(UInt8(ascii: "'"))
      case "x":
        guard let byte = UInt8(String(rest.prefix(2)), radix: 16) else { return nil }
        bytes.append(byte)
        rest = rest.dropFirst(2)
      case "u":
        let digits = rest.dropFirst().prefix { $0 != "}" }
        guard let value = UInt32(String(digits), radix: 16), let scalar = Unicode.Scalar(value) else {
          return nil
        }
        bytes += String(scalar).utf8
        rest = rest.dropFirst(digits.count + 2)
      default: return nil
      }
    }
    return bytes
  }
}
