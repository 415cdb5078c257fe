internal import Safetensors

/// Appends JSON to a buffer of bytes.
struct JSONWriter {
  private(set) var bytes: [UInt8] = []

  /// Appends text that is JSON already.
  mutating func raw(_ json: String) { bytes += json.utf8 }

  /// Appends a number.
  mutating func number(_ value: some BinaryInteger) { raw(String(value)) }

  /// Appends a string, given as valid UTF-8. What a terminal would act on, or a reader would not see, is escaped
  /// beyond what JSON asks for, so that a model's names can be looked at with cat(1).
  mutating func string(_ utf8: some Sequence<UInt8>) {
    bytes.append(UInt8(ascii: "\""))
    var iterator = utf8.makeIterator()
    var decoder = Unicode.UTF8.ForwardParser()
    while case .valid(let encoded) = decoder.parseScalar(from: &iterator) {
      let scalar = Unicode.UTF8.decode(encoded)
      if scalar == "\"" || scalar == "\\" {
        bytes.append(UInt8(ascii: "\\"))
        bytes += encoded
      } else if PrintableText.isUnsafe(scalar) {
        for unit in UTF16.encode(scalar).map(Array.init) ?? [] { escape(unit) }
      } else {
        bytes += encoded
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// Appends a string.
  mutating func string(_ text: String) { string(text.utf8) }

  private mutating func escape(_ unit: UInt16) {
    let digits = Array("0123456789abcdef".utf8)
    bytes += "\\u".utf8
    for shift in [12, 8, 4, 0] { bytes.append(digits[Int(unit >> UInt16(shift)) & 15]) }
  }

  /// Appends `items` between the brackets, separated by commas, as `body` writes each.
  mutating func list<Items: Sequence>(
    _ opening: String, _ items: Items, separator: String = ", ", _ closing: String,
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
