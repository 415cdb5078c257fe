internal import Safetensors

/// Appends JSON to a buffer of bytes.
package struct JSONWriter {
  package private(set) var bytes: [UInt8] = []

  /// An empty buffer.
  package init() {}

  /// Makes room for that many bytes, so that a large document is not moved as it grows.
  package mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

  /// Appends text that is JSON already.
  package mutating func raw(_ json: StaticString) {
    // The buffer of a literal, which is never freed.
    json.withUTF8Buffer { literal in unsafe bytes.append(contentsOf: literal) }
  }

  /// Appends text that is JSON already.
  package mutating func raw(_ json: some Collection<UInt8>) { bytes += json }

  /// Appends a number.
  package mutating func number(_ value: UInt64) { bytes += String(value).utf8 }

  /// Appends a number, or null if JSON cannot represent it.
  package mutating func number(_ value: Double) { bytes += (value.isFinite ? String(value) : "null").utf8 }

  /// Appends a string, given as valid UTF-8; characters that are not safe to print are escaped.
  package mutating func string(_ utf8: ArraySlice<UInt8>) { JSONString.append(utf8, .unsafe, to: &bytes) }

  /// Appends a string.
  package mutating func string(_ text: String) { string(ArraySlice(text.utf8)) }

  /// Appends `items` between the brackets, separated by commas, as `body` writes each.
  package mutating func list<Items: Sequence>(
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
