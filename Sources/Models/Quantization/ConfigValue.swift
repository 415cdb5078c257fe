internal import Safetensors
internal import SystemPackage

/// A JSON value in a model's configuration file, such as config.json.
///
/// Numbers keep their text, so integers stay exact. Python's `NaN` and `Infinity`, which some configurations
/// have, count as numbers.
indirect enum ConfigValue: Sendable {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  case array([ConfigValue])
  /// Of a duplicate key, the last value counts, as in Python.
  case object([String: ConfigValue])

  /// The maximum size of a configuration file, in bytes.
  static let maximumSize: UInt64 = 16 << 20

  /// Reads a configuration file; nil if it does not exist. Throws if it cannot be read or is not JSON.
  init?(opening path: FilePath) throws(ModelError) {
    let file: SourceFile
    do throws(ModelError) {
      file = try SourceFile(opening: path)
    } catch {
      if error.kind == .noSource { return nil }
      throw error
    }
    guard file.size <= Self.maximumSize else {
      throw ModelError(
        .malformed, path,
        "a configuration file of \(file.size) bytes is over the limit of \(Self.maximumSize) bytes")
    }
    let bytes = try ModelError.translating("read", path) {
      try file.read(from: 0, count: Int(file.size))
    }
    do throws(JSONError) {
      try self.init(reading: bytes)
    } catch {
      throw ModelError(.malformed, path, "invalid JSON at byte \(error.offset): \(error.problem)")
    }
  }

  /// Reads JSON text.
  init(reading bytes: [UInt8]) throws(JSONError) {
    var cursor = try JSONCursor(checking: bytes.span)
    var text: [UInt8] = []
    self = try Self.value(&cursor, bytes, &text)
    try cursor.expectEnd()
  }

  private static func value(_ cursor: inout JSONCursor, _ bytes: [UInt8], _ text: inout [UInt8])
    throws(JSONError) -> ConfigValue
  {
    cursor.skipWhitespace()
    switch cursor.byte {
    case UInt8(ascii: "{"):
      var entries: [String: ConfigValue] = [:]
      try cursor.beginObject()
      while let key = try cursor.nextKey(into: &text) {
        let name = take(key.range, from: &text)
        entries[name] = try value(&cursor, bytes, &text)
      }
      return .object(entries)
    case UInt8(ascii: "["):
      var elements: [ConfigValue] = []
      try cursor.beginArray()
      while try cursor.nextElement() { elements.append(try value(&cursor, bytes, &text)) }
      return .array(elements)
    case UInt8(ascii: "\""):
      return .string(take(try cursor.string(into: &text), from: &text))
    case UInt8(ascii: "n"), UInt8(ascii: "t"), UInt8(ascii: "f"):
      let isTrue = cursor.byte == UInt8(ascii: "t")
      let isNull = cursor.byte == UInt8(ascii: "n")
      try cursor.skipValue(scratch: &text)
      return isNull ? .null : .bool(isTrue)
    default:
      let start = cursor.offset
      if !skipWord(&cursor, bytes) { try cursor.skipNumber() }
      return .number(String(decoding: bytes[start..<cursor.offset], as: UTF8.self))
    }
  }

  private static func take(_ range: Range<Int>, from text: inout [UInt8]) -> String {
    defer { text.removeSubrange(range) }
    return String(decoding: text[range], as: UTF8.self)
  }

  /// Skips `NaN`, `Infinity` or `-Infinity`.
  private static func skipWord(_ cursor: inout JSONCursor, _ bytes: [UInt8]) -> Bool {
    for word in ["NaN", "Infinity", "-Infinity"] where bytes[cursor.offset...].starts(with: word.utf8) {
      for _ in word.utf8 { cursor.advance() }
      return true
    }
    return false
  }
}

extension ConfigValue {
  /// The value of a key; nil if this is no object, if the key is missing, or if the value is null.
  subscript(key: String) -> ConfigValue? {
    guard case .object(let entries) = self, let value = entries[key] else { return nil }
    if case .null = value { return nil }
    return value
  }

  /// This object, extended by the keys that only the other object has.
  func filled(from other: ConfigValue) -> ConfigValue {
    guard case .object(let own) = self, case .object(let others) = other else { return self }
    return .object(others.merging(own) { $1 })
  }

  /// True if a key exists and its value is null.
  func isNull(_ key: String) -> Bool {
    if case .object(let entries) = self, case .null? = entries[key] { true } else { false }
  }

  var string: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  var bool: Bool? {
    guard case .bool(let value) = self else { return nil }
    return value
  }

  /// An integer of at most 64 bits; nil for fractions and anything else.
  var integer: Int? {
    guard case .number(let text) = self else { return nil }
    return Int(text)
  }

  /// A number, rounded to float64 and then to float32, as in Python's `torch.tensor(number)`.
  var float: Float? {
    guard case .number(let text) = self, let double = Double(text) else { return nil }
    return Float(double)
  }

  var array: [ConfigValue]? {
    guard case .array(let elements) = self else { return nil }
    return elements
  }

  var object: [String: ConfigValue]? {
    guard case .object(let entries) = self else { return nil }
    return entries
  }

  /// The strings in an array; empty for any other value.
  var strings: [String] { array?.compactMap(\.string) ?? [] }

  /// Two positive integers, such as a block size, from `[128, 128]` or `"128x128"`; nil for anything else.
  var pair: (UInt64, UInt64)? {
    let numbers = array?.map(\.integer) ?? string?.split(separator: "x").map { Int($0) } ?? []
    guard numbers.count == 2, let first = numbers[0], let second = numbers[1], first > 0, second > 0
    else { return nil }
    return (UInt64(first), UInt64(second))
  }
}
