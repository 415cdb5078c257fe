internal import Models
internal import Safetensors

/// Appends JSON to a buffer of bytes.
struct JSONWriter {
  private(set) var bytes: [UInt8] = []

  /// Makes room for that many bytes, so that a large document is not moved as it grows.
  mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

  /// Appends text that is JSON already.
  mutating func raw(_ json: StaticString) {
    // The buffer of a literal, which lives as long as the program.
    json.withUTF8Buffer { literal in unsafe bytes.append(contentsOf: literal) }
  }

  /// Appends text that is JSON already.
  mutating func raw(_ json: some Collection<UInt8>) { bytes += json }

  /// Appends a number.
  mutating func number(_ value: UInt64) { bytes += String(value).utf8 }

  /// Appends a string, given as valid UTF-8. What a terminal would act on, or a reader would not see, is escaped
  /// beyond what JSON asks for, so that a model's names can be looked at with cat(1).
  mutating func string(_ utf8: ArraySlice<UInt8>) {
    bytes.append(UInt8(ascii: "\""))
    var rest = utf8
    while let position = rest.firstIndex(where: { !Self.isPlain($0) }) {
      bytes += rest[..<position]
      rest = rest[position...]
      rest.removeFirst(appendScalar(at: rest))
    }
    bytes += rest
    bytes.append(UInt8(ascii: "\""))
  }

  /// Appends a string.
  mutating func string(_ text: String) { string(ArraySlice(text.utf8)) }

  /// True of the ASCII characters that stand for themselves, which is most of every model.
  private static func isPlain(_ byte: UInt8) -> Bool {
    byte >= 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
  }

  /// Appends the first character of `utf8`, which is not empty, and returns how many bytes it has there.
  private mutating func appendScalar(at utf8: ArraySlice<UInt8>) -> Int {
    var iterator = utf8.makeIterator()
    var decoder = Unicode.UTF8.ForwardParser()
    guard case .valid(let encoded) = decoder.parseScalar(from: &iterator) else {
      raw("\\ufffd")
      return 1
    }
    let scalar = Unicode.UTF8.decode(encoded)
    if scalar == "\"" || scalar == "\\" {
      bytes.append(UInt8(ascii: "\\"))
      bytes += encoded
    } else if PrintableText.isUnsafe(scalar) {
      for unit in String(scalar).utf16 { escape(unit) }
    } else {
      bytes += encoded
    }
    return encoded.count
  }

  private static let hexDigits = Array("0123456789abcdef".utf8)

  private mutating func escape(_ unit: UInt16) {
    raw("\\u")
    for shift in [12, 8, 4, 0] { bytes.append(Self.hexDigits[Int(unit >> UInt16(shift)) & 15]) }
  }

  /// Appends `items` between the brackets, separated by commas, as `body` writes each.
  mutating func list<Items: Sequence>(
    _ opening: StaticString, _ items: Items, separator: StaticString = ", ", _ closing: StaticString,
    _ body: (inout JSONWriter, Items.Element) -> Void
  ) {
    raw(opening)
    var isFirst = true
    for item in items {
      if !isFirst { raw(separator) }
      isFirst = false
      body(&self, item)
    }
    raw(closing)
  }
}
