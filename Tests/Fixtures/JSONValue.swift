/// A JSON text with its spelling: objects keep their order, numbers their spelling, and strings their bytes.
///
/// A second reader of JSON, to check the output of writers. It is simple and slow.
public indirect enum JSONValue: Equatable, Sendable {
  /// `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A number as it is spelled.
  case number(String)
  /// A string's UTF-8 bytes, escapes resolved.
  case string([UInt8])
  /// An array.
  case array([JSONValue])
  /// An object's entries in order; keys may repeat.
  case object([Entry])

  /// One entry of an object.
  public struct Entry: Equatable, Sendable {
    /// The key's UTF-8 bytes, escapes resolved.
    public var key: [UInt8]
    /// The value.
    public var value: JSONValue

    /// An entry.
    public init(key: [UInt8], value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  /// Why a text is not JSON, and at which byte.
  public struct Problem: Error {
    /// What was expected.
    public let expected: String
    /// The offset of the error, in bytes.
    public let offset: Int
  }

  /// Reads a whole text.
  public init(parsing text: some Collection<UInt8>) throws(Problem) {
    var parser = Parser(text: Array(text))
    self = try parser.value()
    parser.skipSpace()
    guard parser.position == parser.text.count else { throw parser.problem("the end") }
  }

  /// The entries of an object; empty for another value.
  public var entries: [Entry] {
    if case .object(let entries) = self { entries } else { [] }
  }

  /// The elements of an array; empty for another value.
  public var elements: [JSONValue] {
    if case .array(let elements) = self { elements } else { [] }
  }

  /// The bytes of a string; nil for another value.
  public var stringBytes: [UInt8]? {
    if case .string(let bytes) = self { bytes } else { nil }
  }

  /// An integer; nil for another value.
  public var integer: Int? {
    if case .number(let spelling) = self { Int(spelling) } else { nil }
  }

  /// The value of the first entry of this key.
  public subscript(key: String) -> JSONValue? { self[bytes: Array(key.utf8)] }

  /// The value of the first entry of this key.
  public subscript(bytes key: [UInt8]) -> JSONValue? { entries.first { $0.key == key }?.value }
}

private struct Parser {
  let text: [UInt8]
  var position = 0

  func problem(_ expected: String) -> JSONValue.Problem { .init(expected: expected, offset: position) }

  private var next: Character? {
    position < text.count ? Character(Unicode.Scalar(text[position])) : nil
  }

  mutating func skipSpace() {
    while let next, next == " " || next == "\n" || next == "\t" || next == "\r" { position += 1 }
  }

  private mutating func take(_ character: Character) -> Bool {
    guard next == character else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ word: String) throws(JSONValue.Problem) {
    for character in word where !take(character) { throw problem("'\(word)'") }
  }

  mutating func value() throws(JSONValue.Problem) -> JSONValue {
    skipSpace()
    switch next {
    case "{": return .object(try list("{", "}") { parser throws(JSONValue.Problem) in try parser.entry() })
    case "[": return .array(try list("[", "]") { parser throws(JSONValue.Problem) in try parser.value() })
    case "\"": return .string(try string())
    case "n":
      try expect("null")
      return .null
    case "t":
      try expect("true")
      return .bool(true)
    case "f":
      try expect("false")
      return .bool(false)
    default: return .number(try number())
    }
  }

  private mutating func list<Element>(
    _ opening: Character, _ closing: Character,
    _ element: (inout Parser) throws(JSONValue.Problem) -> Element
  ) throws(JSONValue.Problem) -> [Element] {
    try expect(String(opening))
    var elements: [Element] = []
    skipSpace()
    if take(closing) { return elements }
    repeat {
      elements.append(try element(&self))
      skipSpace()
    } while take(",")
    try expect(String(closing))
    return elements
  }

  private mutating func entry() throws(JSONValue.Problem) -> JSONValue.Entry {
    skipSpace()
    let key = try string()
    skipSpace()
    try expect(":")
    return JSONValue.Entry(key: key, value: try value())
  }

  private mutating func number() throws(JSONValue.Problem) -> String {
    let start = position
    _ = take("-")
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("-") { _ = take("+") }
      try digits()
    }
    return String(decoding: text[start..<position], as: UTF8.self)
  }

  private mutating func digits() throws(JSONValue.Problem) {
    let start = position
    while let next, ("0"..."9").contains(next) { position += 1 }
    if position == start { throw problem("a digit") }
  }

  private mutating func string() throws(JSONValue.Problem) -> [UInt8] {
    guard take("\"") else { throw problem("a string") }
    var units: [UInt16] = []
    var bytes: [UInt8] = []
    while true {
      guard position < text.count, text[position] >= 0x20 else { throw problem("the string's end") }
      let isEscapedUnit = text[position...].starts(with: "\\u".utf8)
      if !isEscapedUnit, !units.isEmpty { bytes += try flush(&units) }
      if isEscapedUnit {
        position += 2
        units.append(try unit())
      } else if take("\"") {
        break
      } else if take("\\") {
        bytes.append(try escape())
      } else {
        bytes.append(text[position])
        position += 1
      }
    }
    guard String(validating: bytes, as: UTF8.self) != nil else { throw problem("UTF-8 before this") }
    return bytes
  }

  private func flush(_ units: inout [UInt16]) throws(JSONValue.Problem) -> [UInt8] {
    defer { units = [] }
    guard let string = String(validating: units, as: UTF16.self) else { throw problem("pairs of surrogates") }
    return Array(string.utf8)
  }

  private mutating func unit() throws(JSONValue.Problem) -> UInt16 {
    let digits = text[position...].prefix(4)
    guard digits.count == 4, let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16) else {
      throw problem("four hexadecimal digits")
    }
    position += 4
    return unit
  }

  private mutating func escape() throws(JSONValue.Problem) -> UInt8 {
    let meanings: KeyValuePairs<Character, UInt8> = [
      "\"": 0x22, "\\": 0x5C, "/": 0x2F, "b": 0x08, "f": 0x0C, "n": 0x0A, "r": 0x0D, "t": 0x09,
    ]
    for (character, byte) in meanings where take(character) { return byte }
    throw problem("an escape")
  }
}
