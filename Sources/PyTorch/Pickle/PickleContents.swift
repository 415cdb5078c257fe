/// Accessors for a pickle's values. They return nil for a value of another kind.
extension Pickle {
  package subscript(text: Text) -> ArraySlice<UInt8> {
    let start = Int(text.start)
    if start < bytes.count { return bytes[start..<start + Int(text.count)] }
    return decoded[start - bytes.count..<start - bytes.count + Int(text.count)]
  }

  /// The bytes of a string, or of a Python 2 byte string; not necessarily UTF-8.
  package func string(_ value: Value?) -> ArraySlice<UInt8>? {
    guard case .text(let row)? = value else { return nil }
    return self[texts[Int(row)]]
  }

  /// True if the value is this string.
  package func isString(_ value: Value?, _ expected: StaticString) -> Bool {
    guard let string = string(value) else { return false }
    return unsafe string.elementsEqual(
      UnsafeBufferPointer(start: expected.utf8Start, count: expected.utf8CodeUnitCount))
  }

  /// An integer of at most 64 bits; nil for True and False.
  package func integer(_ value: Value?) -> Int64? {
    switch value {
    case .small(let number)?: Int64(number)
    case .large(let row)?: integers[Int(row)]
    default: nil
    }
  }

  /// A non-negative integer.
  package func count(_ value: Value?) -> UInt64? { integer(value).flatMap { UInt64(exactly: $0) } }

  /// The items of a tuple, list or set.
  package func sequence(_ value: Value?) -> [Value]? {
    guard case .container(let row)? = value, containers[Int(row)].kind != .dictionary else { return nil }
    return items(of: row)
  }

  /// The entries of a dictionary, ordered by each key's first occurrence. The last value of a duplicate key
  /// wins. Each call takes time proportional to the dictionary.
  package func entries(_ value: Value?) -> [(key: Value, value: Value)]? {
    guard case .container(let row)? = value, containers[Int(row)].kind == .dictionary else { return nil }
    return entries(of: row)
  }

  /// The value of a key in a dictionary; see ``entries(_:)``.
  package func value(of key: StaticString, in dictionary: Value?) -> Value? {
    entries(dictionary)?.first { isString($0.key, key) }?.value
  }

  /// The full name of a class or function, such as `torch.float32`; not necessarily UTF-8.
  package func globalName(_ value: Value?) -> [UInt8]? {
    guard case .global(let row)? = value else { return nil }
    let global = globals[Int(row)]
    return Array(self[global.module]) + [UInt8(ascii: ".")] + Array(self[global.name])
  }

  /// The full names of unknown globals, each once.
  package var unknownGlobals: [[UInt8]] {
    globals.indices.filter { [.unknown, .getattr].contains(globals[$0].meaning) }
      .map { globalName(.global(UInt32($0))) ?? [] }
  }

  /// The full name of an object's class or function; nil for another value, and for an object whose class is
  /// itself the result of a call.
  package func className(of value: Value?) -> [UInt8]? {
    guard case .object(let row)? = value else { return nil }
    return globalName(objects[Int(row)].function)
  }

  /// The number of values that ``sequence(_:)``, ``entries(_:)`` or ``attribute(_:of:)`` visits.
  package func partCount(of value: Value?) -> Int {
    switch value {
    case .container(let row)?: return Int(containers[Int(row)].count)
    case .object(let row)? where objects[Int(row)].states >= 0:
      return items(of: UInt32(objects[Int(row)].states)).reduce(0) { count, state in
        if case .container(let row) = state { count + 1 + Int(containers[Int(row)].count) } else { count + 1 }
      }
    default: return 0
    }
  }

  /// An attribute of an object. The last state that is a dictionary with that key decides.
  package func attribute(_ name: StaticString, of value: Value?) -> Value? {
    guard case .object(let row)? = value, objects[Int(row)].states >= 0 else { return nil }
    return items(of: UInt32(objects[Int(row)].states)).reversed().lazy
      .compactMap { self.value(of: name, in: $0) }.first
  }

  // MARK: - For this module

  /// An object's positional arguments, followed by its keyword arguments.
  func arguments(of object: Object) -> [Value] {
    let keywords = object.keywords < 0 ? [] : entries(of: UInt32(object.keywords)).map(\.value)
    return items(of: object.arguments) + keywords
  }

  /// The meaning of a global; nil for any other value.
  func meaning(_ value: Value?) -> Global? {
    guard case .global(let row)? = value else { return nil }
    return globals[Int(row)].meaning
  }

  func entries(of row: UInt32) -> [(key: Value, value: Value)] {
    let items = items(of: row)
    var entries: [(key: Value, value: Value)] = []
    entries.reserveCapacity(items.count / 2)
    var positions: [Key: Int] = [:]
    if items.count > 2 { positions.reserveCapacity(items.count / 2) }
    for position in stride(from: 0, to: items.count - 1, by: 2) {
      let (key, value) = (items[position], items[position + 1])
      if items.count > 2, let identity = identity(of: key) {
        if let earlier = positions.updateValue(entries.count, forKey: identity) {
          entries[earlier].value = value
          positions[identity] = earlier
          continue
        }
      }
      entries.append((key, value))
    }
    return entries
  }

  /// A key in Python's equality: True equals 1. Equal texts have the same row.
  private enum Key: Hashable {
    case value(Value)
    case integer(Int64)
  }

  /// Nil for a number whose value is not kept.
  private func identity(of key: Value) -> Key? {
    switch key {
    case .number: nil
    case .bool(let value): .integer(value ? 1 : 0)
    case .small(let number): .integer(Int64(number))
    case .large(let row): .integer(integers[Int(row)])
    default: .value(key)
    }
  }
}
