/// A problem in a JSON text, and its byte.
package struct JSONError: Error, Equatable {
  /// Offset from the start of the JSON text, in bytes.
  package var offset: Int
  /// The problem as the end of a sentence, such as "expected ':'".
  package var problem: String

  package init(offset: Int, problem: String) {
    self.offset = offset
    self.problem = problem
  }
}

/// A bounds-checked reader over a JSON text (RFC 8259) in UTF-8.
///
/// It reads only what the caller asks for, and builds no values: skipped values cost no memory, strings are appended to
/// the caller's own buffer. It accepts exactly what the reference's JSON library (serde_json) accepts: no byte
/// order mark, no trailing comma, no number that overflows a double, no lone surrogate escape, no nesting
/// deeper than 127.
package struct JSONCursor: ~Escapable {
  private let bytes: Span<UInt8>
  /// The next byte to read.
  package private(set) var offset = 0
  /// Containers open at this place.
  private var depth = 0
  /// True directly after an opening bracket, where no comma is expected.
  private var isAtFirst = false

  /// serde_json refuses to enter the 128th container.
  private static let maximumDepth = 127

  /// A cursor at the beginning of a text that was checked to be UTF-8.
  @_lifetime(copy bytes)
  package init(_ bytes: Span<UInt8>) { self.bytes = bytes }

  /// A cursor at the beginning of a text, which is an error if it is not UTF-8.
  @_lifetime(copy bytes)
  package init(checking bytes: Span<UInt8>) throws(JSONError) {
    if let offset = firstInvalidUTF8(bytes) { throw JSONError(offset: offset, problem: "not UTF-8") }
    self.bytes = bytes
  }

  // MARK: Tokens

  /// The byte at the cursor, or nil at the end.
  package var byte: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  /// An error at the cursor.
  package func error(_ problem: String) -> JSONError { JSONError(offset: offset, problem: problem) }

  /// An error at the cursor, which found something other than `wanted`.
  package func unexpected(_ wanted: String) -> JSONError {
    guard let byte else { return error("expected \(wanted), found the end of the text") }
    // The text is UTF-8, so a byte below 0x80 is a character of its own.
    let found =
      byte < 0x80 ? PrintableText.quoted([byte]) : "the non-ASCII byte 0x\(String(byte, radix: 16))"
    return error("expected \(wanted), found \(found)")
  }

  /// Moves past the byte at the cursor; there is one.
  package mutating func advance() { offset += 1 }

  package mutating func skipWhitespace() {
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x09, 0x0A, 0x0D: offset += 1
      default: return
      }
    }
  }

  /// Skips whitespace; true, with the byte consumed, if `wanted` comes next.
  private mutating func consume(_ wanted: UInt8) -> Bool {
    skipWhitespace()
    guard byte == wanted else { return false }
    offset += 1
    return true
  }

  private mutating func expect(_ wanted: UInt8, _ name: String) throws(JSONError) {
    guard consume(wanted) else { throw unexpected(name) }
  }

  /// True if `null` comes next, which is then consumed.
  package mutating func consumeNull() throws(JSONError) -> Bool {
    skipWhitespace()
    guard byte == UInt8(ascii: "n") else { return false }
    try literal("null")
    return true
  }

  private mutating func literal(_ word: StaticString) throws(JSONError) {
    let start = offset
    for index in 0..<word.utf8CodeUnitCount {
      guard let byte, unsafe byte == word.utf8Start[index] else {
        throw JSONError(offset: start, problem: "not a JSON value")
      }
      offset += 1
    }
  }

  /// Checks that nothing but whitespace is left.
  package mutating func expectEnd() throws(JSONError) {
    skipWhitespace()
    guard byte == nil else { throw unexpected("nothing more") }
  }

  // MARK: Containers

  private mutating func enter() throws(JSONError) {
    guard depth < Self.maximumDepth else { throw error("nested more than \(Self.maximumDepth) deep") }
    depth += 1
    isAtFirst = true
  }

  /// Skips to the next member of the open container, over the comma before it. Returns false, past the
  /// container, if `end` comes instead.
  private mutating func nextMember(end: UInt8, _ wanted: String) throws(JSONError) -> Bool {
    if consume(end) {
      depth -= 1
      isAtFirst = false
      return false
    }
    if !isAtFirst { try expect(UInt8(ascii: ","), wanted) }
    isAtFirst = false
    skipWhitespace()
    return true
  }

  /// A key of an object.
  package struct Key {
    /// Its offset in the JSON text, in bytes.
    package var offset: Int
    /// The range of its unescaped bytes in the caller's buffer.
    package var range: Range<Int>
  }

  /// Opens an object; follow with ``nextKey(into:)``.
  package mutating func beginObject(_ what: String = "an object") throws(JSONError) {
    try expect(UInt8(ascii: "{"), what)
    try enter()
  }

  /// Reads the next key and its colon, appending the key's bytes to `text`. Nil at the object's end.
  package mutating func nextKey(into text: inout [UInt8]) throws(JSONError) -> Key? {
    guard try nextMember(end: UInt8(ascii: "}"), "',' or '}'") else { return nil }
    let offset = self.offset
    let range = try string("a key in double quotes", into: &text)
    try expect(UInt8(ascii: ":"), "':'")
    return Key(offset: offset, range: range)
  }

  /// Opens an array; follow with ``nextElement()``.
  package mutating func beginArray(_ what: String = "an array") throws(JSONError) {
    try expect(UInt8(ascii: "["), what)
    try enter()
  }

  /// True if an element follows, with the cursor at it; false at the array's end, with the cursor past it.
  package mutating func nextElement() throws(JSONError) -> Bool {
    try nextMember(end: UInt8(ascii: "]"), "',' or ']'")
  }

  // MARK: Values

  /// Reads a string, appending its unescaped UTF-8 bytes to `text`, and returns where they are in it.
  package mutating func string(_ what: String = "a string", into text: inout [UInt8]) throws(JSONError)
    -> Range<Int>
  {
    try expect(UInt8(ascii: "\""), what)
    let start = text.count
    while true {
      appendPlainCharacters(to: &text)
      switch byte {
      case UInt8(ascii: "\""):
        offset += 1
        return start..<text.count
      case UInt8(ascii: "\\"):
        try escape(into: &text)
      case nil:
        throw error("the text ends inside a string")
      default:
        throw error("a control character in a string must be escaped")
      }
    }
  }

  /// Reads characters without escapes: up to a quote, a backslash, a control character or the end.
  private mutating func appendPlainCharacters(to text: inout [UInt8]) {
    let start = offset
    while let byte, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { offset += 1 }
    // All at once: names are most of a header's bytes.
    unsafe bytes.extracting(start..<offset).withUnsafeBufferPointer { unsafe text.append(contentsOf: $0) }
  }

  /// Reads an escape sequence, beginning at its backslash.
  private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
    let start = offset
    offset += 1
    let byte = self.byte
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte ?? 0)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var value = try hexDigits(escapeStart: start)
      if value & 0xFC00 == 0xD800, offset + 1 < bytes.count,
        bytes[offset] == UInt8(ascii: "\\"), bytes[offset + 1] == UInt8(ascii: "u")
      {
        offset += 2
        let low = try hexDigits(escapeStart: start)
        guard low & 0xFC00 == 0xDC00 else {
          throw JSONError(offset: start, problem: "a lone surrogate escape")
        }
        value = 0x10000 + (value & 0x3FF) << 10 + low & 0x3FF
      }
      // Unicode.Scalar refuses lone surrogates.
      guard let scalar = Unicode.Scalar(value) else {
        throw JSONError(offset: start, problem: "a lone surrogate escape")
      }
      text.append(contentsOf: String(scalar).utf8)
    default:
      throw JSONError(offset: start, problem: "not a JSON escape sequence")
    }
  }

  private mutating func hexDigits(escapeStart: Int) throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte, let digit = hexValue(byte) else {
        throw JSONError(offset: escapeStart, problem: "'\\u' needs four hexadecimal digits")
      }
      value = value << 4 | digit
      offset += 1
    }
    return value
  }

  private func hexValue(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A")) + 10
    default: nil
    }
  }

  /// Reads any value and builds nothing from it; `scratch` is used for its strings and left as it was.
  package mutating func skipValue(scratch: inout [UInt8]) throws(JSONError) {
    skipWhitespace()
    let used = scratch.count
    switch byte {
    case UInt8(ascii: "{"):
      try beginObject()
      while try nextKey(into: &scratch) != nil {
        scratch.removeSubrange(used...)
        try skipValue(scratch: &scratch)
      }
    case UInt8(ascii: "["):
      try beginArray()
      while try nextElement() { try skipValue(scratch: &scratch) }
    case UInt8(ascii: "\""):
      _ = try string(into: &scratch)
      scratch.removeSubrange(used...)
    case UInt8(ascii: "t"): try literal("true")
    case UInt8(ascii: "f"): try literal("false")
    case UInt8(ascii: "n"): try literal("null")
    default: try skipNumber()
    }
  }
}
