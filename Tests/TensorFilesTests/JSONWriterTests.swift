import Fixtures
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Writing JSON") struct JSONWriterTests {
  private func written(_ text: String) -> String {
    var writer = JSONWriter()
    writer.string(text)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  @Test(
    "Only characters that are unsafe in JSON, on a terminal or to a reader are escaped",
    arguments: [
      ("", ""), ("model.layers.0.weight", "model.layers.0.weight"), ("a/b", "a/b"),
      ("\"", #"\""#), ("\\", #"\\"#), (#"\"x\"#, #"\\\"x\\"#),
      ("\0", #"\u0000"#), ("\t\n", #"\u0009\u000a"#), ("\u{1B}[31m", #"\u001b[31m"#),
      ("\u{1F} ", #"\u001f "#),
      ("~\u{7F}\u{80}", #"~\u007f\u0080"#), ("\u{9B}", #"\u009b"#), ("\u{A0}", "\u{A0}"),
      ("\u{202E}abc", #"\u202eabc"#), ("\u{2028}\u{2029}", #"\u2028\u2029"#),
      ("\u{200B}\u{FEFF}", #"\u200b\ufeff"#),
      ("\u{E000}", #"\ue000"#), ("\u{FFFF}", #"\uffff"#),
      ("é", "é"), ("e\u{301}", "e\u{301}"), ("日本語", "日本語"), ("😀", "😀"), ("\u{FFFD}", "\u{FFFD}"),
      ("\u{E0001}", #"\udb40\udc01"#), ("\u{10FFFF}", #"\udbff\udfff"#), ("\u{F0000}x", #"\udb80\udc00x"#),
    ])
  func escapes(text: String, expected: String) throws {
    #expect(Array(written(text).utf8) == Array("\"\(expected)\"".utf8))
    #expect(try JSONValue(parsing: written(text).utf8) == .string(Array(text.utf8)))
  }

  @Test("Bytes that are not UTF-8 cannot break the document")
  func invalid() {
    var writer = JSONWriter()
    writer.string([0x61, 0xFF, 0xC3, 0x62, 0xED, 0xA0, 0x80][...])
    #expect(String(decoding: writer.bytes, as: UTF8.self) == #""a\ufffd\ufffdb\ufffd\ufffd\ufffd""#)
  }

  @Test("Random strings survive a round trip byte for byte")
  func roundTrip() throws {
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<300 {
      var text = ""
      for _ in 0..<Int.random(in: 0...20, using: &generator) {
        let limit: UInt32 = [0x80, 0x100, 0x3000, 0x11_0000].randomElement(using: &generator) ?? 0
        if let scalar = Unicode.Scalar(UInt32.random(in: 0..<limit, using: &generator)) {
          text.unicodeScalars.append(scalar)
        }
      }
      #expect(try JSONValue(parsing: written(text).utf8) == .string(Array(text.utf8)))
    }
  }

  @Test("Numbers keep all their digits")
  func numbers() {
    var writer = JSONWriter()
    writer.list("[", [0, 7, 1 << 53 + 1, .max] as [UInt64], "]") { $0.number($1) }
    #expect(String(decoding: writer.bytes, as: UTF8.self) == "[0, 7, 9007199254740993, 18446744073709551615]")
  }
}
