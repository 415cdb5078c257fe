import Safetensors

/// Bytes that are shown to a person: nothing in them drives a terminal or turns the text around, and nothing is long.
enum TextFuzzer: Fuzzer {
  static var seeds: [[UInt8]] {
    [
      Array("plain \u{1B}[31m\r\n\u{202E}abc\u{2066}\u{7F}\u{85}é'\\".utf8),
      [0xC3, 0x28, 0xED, 0xA0, 0x80, 0xFF, 0xF4, 0x90],
      Array(repeating: 0xE2, count: 200), Array(String(repeating: "é", count: 100).utf8),
    ]
  }

  static func read(_ bytes: [UInt8]) {
    for text in [PrintableText.quoted(bytes), PrintableText.plain(bytes), PrintableText.escaped(bytes)] {
      for scalar in text.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .lineSeparator, .paragraphSeparator:
          fatalError("U+\(String(scalar.value, radix: 16)) is shown")
        default: break
        }
      }
    }
    // The longest escape of a byte has 10 characters.
    require(PrintableText.quoted(bytes).utf8.count < 2000, "a long text is shown")
  }
}
