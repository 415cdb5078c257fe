import Fixtures
import Testing

import Linux

@Suite("Command-line arguments") struct ArgumentsTests {
  @Test(
    "Bytes that are not UTF-8, and characters that represent such bytes, are preserved",
    arguments: [
      [], Array("plain/é/日本".utf8), [0x61, 0xFF], [0x80], [0xC3], [0xE2, 0x82], [0xED, 0xA0, 0x80],
      [0xC0, 0xAF], Array("\u{10FFFF}\u{10FF80}\u{10FF7F}".utf8), [0xF4, 0x8F, 0xBF],
      [0xF4, 0x90, 0x80, 0x80],
      Array("--output=".utf8) + [0xCC, 0x81],
    ] as [[UInt8]])
  func roundTrip(bytes: [UInt8]) {
    #expect(String(argumentBytes: bytes).argumentBytes == bytes)
  }

  @Test("All bytes in any order are preserved")
  func random() {
    var generator = SeededGenerator(seed: 3)
    for _ in 0..<2000 {
      let bytes = generator.bytes(Int.random(in: 0...12, using: &generator)).map {
        $0 | UInt8.random(in: 0...1, using: &generator) << 7
      }
      #expect(String(argumentBytes: bytes).argumentBytes == bytes)
    }
  }

  @Test("A UTF-8 argument is an ordinary string")
  func plain() {
    #expect(String(argumentBytes: Array("a=é\u{301}😀".utf8)) == "a=é\u{301}😀")
    #expect("a=é\u{301}😀".argumentBytes == Array("a=é\u{301}😀".utf8))
  }
}
