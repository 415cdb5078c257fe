@testable import Models
import Safetensors
@testable import TensorFiles

/// A second implementation of the rules for names in docs/SEMANTICS.md: simple, slow, and for a whole set at once.
enum ReferenceEncoder {
  static func path(of name: [UInt8], among names: Set<[UInt8]>) -> [UInt8] {
    let metadata = Array("metadata.json".utf8)
    if name == metadata { return Array("metadata%2Ejson".utf8) }
    var components: [[UInt8]] = [[]]
    for (position, byte) in name.enumerated() {
      let before = Array(name[..<position])
      if byte == UInt8(ascii: "/"), !names.contains(before), before != metadata {
        components.append([])
      } else {
        components[components.count - 1].append(byte)
      }
    }
    let encoded = components.enumerated().map { component($1, isFirst: $0 == 0, of: name) }
    return Array(encoded.joined(separator: [UInt8(ascii: "/")]))
  }

  private static func component(_ raw: [UInt8], isFirst: Bool, of name: [UInt8]) -> [UInt8] {
    let text = String(decoding: raw, as: UTF8.self)
    let views = [".npy": "%2Enpy", ".f32": "%2Ef32", ".safetensors": "%2Esafetensors"]
    let special = ["": "%", ".": "%2E", "..": "%2E%2E"][text] ?? (isFirst ? views[text] : nil)
    if let special { return Array(special.utf8) }
    let characters = text.unicodeScalars.map { character -> String in
      let isControl = character.value < 0x20 || character.value == 0x7F
      guard isControl || character == "%" || character == "/" else { return String(character) }
      let digits = String(character.value, radix: 16, uppercase: true)
      return "%" + (digits.count == 1 ? "0" : "") + digits
    }
    let whole = characters.joined()
    if whole.utf8.count <= 255 { return Array(whole.utf8) }
    var kept = ""
    for character in characters {
      if kept.utf8.count + character.utf8.count > 255 - 18 { break }
      kept += character
    }
    let hash = SHA256.digest(name.span).prefix(8).map { byte in
      let digits = String(byte, radix: 16)
      return (digits.count == 1 ? "0" : "") + digits
    }
    return Array("\(kept)%~\(hash.joined())".utf8)
  }

  /// The name that belongs to a path, or nil if a component is cut.
  static func decode(_ path: [UInt8]) -> [UInt8]? {
    var components: [[UInt8]] = []
    for component in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
      if component.elementsEqual("%".utf8) {
        components.append([])
        continue
      }
      var decoded: [UInt8] = []
      var rest = component
      while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "%") else {
          decoded.append(byte)
          continue
        }
        let digits = String(decoding: rest.prefix(2), as: UTF8.self)
        guard let value = UInt8(digits, radix: 16) else { return nil }
        decoded.append(value)
        rest = rest.dropFirst(2)
      }
      components.append(decoded)
    }
    return Array(components.joined(separator: [UInt8(ascii: "/")]))
  }
}

extension PathEncoder {
  /// The path of each name, sorted by the bytes of the names.
  static func paths(of names: some Sequence<[UInt8]>) -> [(name: [UInt8], path: [UInt8])] {
    var encoder = PathEncoder()
    return Set(names).sorted { $0.lexicographicallyPrecedes($1) }.map { name in
      (name, encoder.encode(TensorName(utf8: name[...])).bytes)
    }
  }
}
