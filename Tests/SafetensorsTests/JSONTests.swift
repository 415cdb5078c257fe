import Conformance
import Fixtures
import Testing

import Safetensors

/// This reader accepts exactly what the reference's JSON library, serde_json, accepts. The expected results were measured with
/// the reference package.
@Suite("JSON") struct JSONTests {
  /// True if a header is accepted that has this value in an unknown field.
  private func isAccepted(_ value: String) -> Bool {
    (try? readHeader(ConformanceCase.one(more: #","z":\#(value)"#).bytes)) != nil
  }

  @Test(
    "A number in a skipped field is accepted if it fits a double",
    arguments: [
      "0", "-0", "0.0", "-0.0e-0", "1", "-1", "1.5", "1e5", "1E5", "1e+5", "1e-5", "0.1e1",
      "1e308", "1.7976931348623157e308", "17976931348623157e292", "-1.7976931348623157e308",
      "0e999", "0.000e99999999999999999999", "1e-999", "1e-99999999999999999999",
      "0.00000000000000000001e320",
      "18446744073709551616", "-9223372036854775809", "100000000000000000000000000000",
      "0." + String(repeating: "0", count: 400) + "1", "0." + String(repeating: "9", count: 400),
      "1" + String(repeating: "0", count: 308), "123456789012345678901234567890e270",
    ])
  func numbers(_ number: String) { #expect(isAccepted(number)) }

  @Test(
    "A number that overflows a double, or is misspelled, is refused",
    arguments: [
      "1e309", "1.8e308", "1e999", "-1e999", "1e99999999999999999999", "1e2147483648",
      String(repeating: "9", count: 400), "1" + String(repeating: "0", count: 309),
      "2" + String(repeating: "0", count: 308),
      "01", "00", "-01", "-", "+1", ".5", "1.", "1.e5", "-.5", "1e", "1e+", "1e-", "1.5.5", "1e5.5", "0x10",
      "1_000",
      "NaN", "Infinity", "-Infinity", "nan", "١",
    ])
  func badNumbers(_ number: String) { #expect(!isAccepted(number)) }

  @Test("Literals are spelled one way only")
  func literals() {
    for literal in ["true", "false", "null", " true ", "\n\t\r null"] { #expect(isAccepted(literal)) }
    for literal in ["True", "tru", "truee", "nul", "nulll", "FALSE", "None", "undefined", "", "t", "n", "f"] {
      #expect(!isAccepted(literal), "\(literal)")
    }
  }

  @Test("127 containers may be open at once, the header and the tensor among them")
  func depth() {
    let openers = [("[", "]"), (#"{"a":"#, "}")]
    for (open, close) in openers {
      func nested(_ depth: Int) -> String {
        String(repeating: open, count: depth) + "0" + String(repeating: close, count: depth)
      }
      #expect(isAccepted(nested(125)))
      #expect(!isAccepted(nested(126)))
      #expect(!isAccepted(nested(100_000)))
    }
    // Only open arrays and objects count towards the depth.
    #expect(isAccepted("[" + Array(repeating: "[[]]", count: 1000).joined(separator: ",") + "]"))
  }

  @Test(
    "Containers are well formed, with no comma too many",
    arguments: [
      "[1,]", "[,1]", "[1 2]", "[", "]", "[1", "{,}", #"{"a":1,}"#, #"{"a"}"#, #"{"a":}"#, #"{"a":1 "b":2}"#,
      "{a:1}",
      #"{"a",1}"#, "[1}", #"{"a":1]"#, "[1,,2]", "{1:2}", #"{null:1}"#, "[1]x",
    ])
  func badContainers(_ value: String) { #expect(!isAccepted(value)) }

  @Test(
    "Strings are unescaped",
    arguments: [
      (#""""#, ""), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
      (#""\u0041\u00e9\u00E9\u4E2d""#, "Aéé中"),
      (#""\ud83d\ude00\uD83D\uDE00""#, "😀😀"), (#""\ud800\udc00\udbff\udfff""#, "\u{10000}\u{10FFFF}"),
      (#""\uD7FF\uE000\uffff""#, "\u{D7FF}\u{E000}\u{FFFF}"),
      ("\"\u{7F}\u{80}é中😀\u{2028}\"", "\u{7F}\u{80}é中😀\u{2028}"),
      (#""\\u0041""#, #"\u0041"#),
    ])
  func strings(_ json: String, _ expected: String) throws {
    var cursor = JSONCursor(json.utf8.span)
    var text = Array("before".utf8)
    let range = try cursor.string(into: &text)
    try cursor.expectEnd()
    #expect(Array(text[range]) == Array(expected.utf8))
    #expect(text.starts(with: "before".utf8))
  }

  @Test(
    "A broken escape is refused",
    arguments: [
      #""\x41""#, #""\u""#, #""\u004""#, #""\u00g1""#, #""\U0041""#, #""\'""#, #""\0""#, #""\"#, #""\u12"#,
      "\"\\\n\"",
      #""\u+041""#, #""\u 041""#, #""a"#, #"""#,
    ])
  func badEscapes(_ json: String) { #expect(throws: JSONError.self) { try readString(json) } }

  @Test(
    "Half a surrogate pair is refused",
    arguments: [
      #""\ud83d""#, #""\ude00""#, #""\ud83d\ud83d""#, #""\ude00\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#,
      #""\ud83d\u0041""#,
      #""\ud83d\u""#, #""\udbff\udbff\udfff""#, #""\ud83d\"#, #""\ud83d\u"#, #""\ud83d"#,
    ])
  func loneSurrogates(_ json: String) { #expect(throws: JSONError.self) { try readString(json) } }

  @Test("A control character in a string must be escaped")
  func controls() throws {
    for value in UInt8(0)..<0x20 {
      let scalar = String(Unicode.Scalar(value))
      #expect(throws: JSONError.self) { try readString("\"\(scalar)\"") }
      let digits = (value < 16 ? "0" : "") + String(value, radix: 16)
      #expect(try readString("\"\\u00\(digits)\"") == [value])
    }
  }

  @Test("An integer from 0 to 2^64 - 1 is read, in plain digits only")
  func integers() throws {
    func read(_ json: String) throws(JSONError) -> UInt64 {
      var cursor = JSONCursor(json.utf8.span)
      let value = try cursor.unsignedInteger()
      try cursor.expectEnd()
      return value
    }
    #expect(try read("0") == 0)
    #expect(try read(" 42 ") == 42)
    #expect(try read("18446744073709551615") == UInt64.max)
    for json in [
      "18446744073709551616", "99999999999999999999", "100000000000000000000", "-1", "-0", "+1", "00", "01",
      "1.0",
      "1e0", "1E2", "", "x", "\"1\"", "0x1", "1 2",
    ] {
      #expect(throws: JSONError.self, "\(json)") { try read(json) }
    }
  }

  private func readString(_ json: String) throws(JSONError) -> [UInt8] {
    var cursor = JSONCursor(json.utf8.span)
    var text: [UInt8] = []
    let range = try cursor.string(into: &text)
    try cursor.expectEnd()
    return Array(text[range])
  }
}
