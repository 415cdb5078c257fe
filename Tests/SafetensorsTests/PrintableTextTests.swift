import Safetensors
import Testing

@Suite("Text that is safe to print") struct PrintableTextTests {
  @Test(
    "Ordinary text is shown as it is, between quotes", arguments: ["", "lm_head.weight", "a b/c~%", "中文 é 😀"])
  func ordinary(_ text: String) { #expect(PrintableText.quoted(text) == "'\(text)'") }

  @Test(
    "Characters that could act on a terminal or mislead the eye are escaped",
    arguments: [
      ("\u{0}", #"\u{0}"#), ("\u{1B}[31m", #"\u{1b}[31m"#), ("\t\n\r", #"\u{9}\u{a}\u{d}"#),
      ("\u{7F}", #"\u{7f}"#),
      ("\u{85}\u{9B}", #"\u{85}\u{9b}"#), ("\u{202E}abc", #"\u{202e}abc"#), ("\u{2066}", #"\u{2066}"#),
      ("\u{200B}\u{200D}\u{FEFF}", #"\u{200b}\u{200d}\u{feff}"#), ("\u{2028}\u{2029}", #"\u{2028}\u{2029}"#),
      ("\u{E000}\u{FFFE}\u{10FFFF}", #"\u{e000}\u{fffe}\u{10ffff}"#), ("\u{E0041}", #"\u{e0041}"#),
      (#"it's a \ "#, #"it\'s a \\ "#),
    ])
  func escaped(_ text: String, _ shown: String) {
    #expect(PrintableText.escaped(Array(text.utf8)) == shown)
    #expect(PrintableText.quoted(text) == "'\(shown)'")
  }

  @Test("Whether a character is shown follows from Unicode's category, with and without looking it up")
  func categories() {
    let differences = (0..<0x1_0000 as Range<UInt32>).compactMap(Unicode.Scalar.init).filter { scalar in
      let isUnsafe =
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse:
          true
        default: false
        }
      return PrintableText.isUnsafe(scalar) != isUnsafe
    }
    #expect(differences == [])
  }

  @Test(
    "Bytes that are not UTF-8 are escaped one by one",
    arguments: [
      ([0xFF], #"\xff"#), ([0x61, 0xC3, 0x62], #"a\xc3b"#), ([0xE4, 0xB8], #"\xe4\xb8"#),
      ([0xED, 0xA0, 0x80], #"\xed\xa0\x80"#), ([0xC0, 0x80], #"\xc0\x80"#), ([0x80, 0xC3, 0xA9], #"\x80é"#),
    ] as [([UInt8], String)])
  func invalid(_ bytes: [UInt8], _ shown: String) { #expect(PrintableText.escaped(bytes) == shown) }

  @Test("Long text is cut between characters, with its length")
  func long() {
    #expect(
      PrintableText.quoted(String(repeating: "n", count: 160)) == "'\(String(repeating: "n", count: 160))'")
    #expect(
      PrintableText.quoted(String(repeating: "n", count: 100_000))
        == "'\(String(repeating: "n", count: 160))…' (100000 bytes)")
    // 160 is not a multiple of 3, and after one letter it is not a multiple of 4 either.
    #expect(
      PrintableText.quoted(String(repeating: "中", count: 60))
        == "'\(String(repeating: "中", count: 53))…' (180 bytes)")
    #expect(
      PrintableText.quoted("a" + String(repeating: "😀", count: 60))
        == "'a\(String(repeating: "😀", count: 39))…' (241 bytes)")
    #expect(
      PrintableText.quoted(Array(repeating: 0x80, count: 200))
        == "'\(String(repeating: #"\x80"#, count: 160))…' (200 bytes)")
  }
}
