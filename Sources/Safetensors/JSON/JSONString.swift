/// Writes JSON strings; no other code does.
package enum JSONString {
  /// Which characters are escaped, besides quotes, backslashes and controls.
  package enum Escaping {
    /// None, so that a string takes the fewest possible bytes: a header never becomes longer than those
    /// that its parts come from.
    case least
    /// Characters that a terminal would interpret, or that are invisible, each as `\uXXXX`, so that cat(1) of the text is
    /// safe.
    case unsafe
    /// All but printable ASCII, as in Python's json.dump.
    case nonASCII
  }

  /// Appends a string, given as UTF-8. Bytes that are not UTF-8 become U+FFFD, except with ``Escaping/least``, which keeps
  /// them.
  package static func append(_ utf8: ArraySlice<UInt8>, _ escaping: Escaping, to json: inout [UInt8]) {
    json.append(UInt8(ascii: "\""))
    var rest = utf8
    while let position = rest.firstIndex(where: { !isPlain($0, escaping) }) {
      json += rest[..<position]
      rest = rest[position...]
      rest.removeFirst(appendScalar(at: rest, escaping, to: &json))
    }
    json += rest
    json.append(UInt8(ascii: "\""))
  }

  /// True for bytes that need no escape, which are most of every model.
  private static func isPlain(_ byte: UInt8, _ escaping: Escaping) -> Bool {
    byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
      && (byte < 0x7F || escaping == .least)
  }

  /// Appends the first character of `utf8`, which is not empty, and returns its number of bytes there.
  private static func appendScalar(
    at utf8: ArraySlice<UInt8>, _ escaping: Escaping, to json: inout [UInt8]
  ) -> Int {
    var iterator = utf8.makeIterator()
    var decoder = Unicode.UTF8.ForwardParser()
    guard case .valid(let encoded) = decoder.parseScalar(from: &iterator) else {
      json += "\\ufffd".utf8
      return 1
    }
    let scalar = Unicode.UTF8.decode(encoded)
    let short = escaping == .unsafe ? nil : shortEscapes[scalar]
    if scalar == "\"" || scalar == "\\" {
      json.append(UInt8(ascii: "\\"))
      json += encoded
    } else if let short {
      json += [UInt8(ascii: "\\"), short]
    } else if scalar.value < 0x20 || escaping == .nonASCII || PrintableText.isUnsafe(scalar) {
      for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter { append(unit, to: &json) }
    } else {
      json += encoded
    }
    return encoded.count
  }

  private static let shortEscapes: [Unicode.Scalar: UInt8] = [
    "\u{8}": UInt8(ascii: "b"), "\t": UInt8(ascii: "t"), "\n": UInt8(ascii: "n"), "\u{C}": UInt8(ascii: "f"),
    "\r": UInt8(ascii: "r"),
  ]
  private static let hexDigits = Array("0123456789abcdef".utf8)

  private static func append(_ unit: UInt16, to json: inout [UInt8]) {
    json += "\\u".utf8
    for shift in [12, 8, 4, 0] { json.append(hexDigits[Int(unit >> UInt16(shift)) & 15]) }
  }
}
