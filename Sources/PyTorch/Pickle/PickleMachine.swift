/// Reads a pickle as a description, and executes nothing.
///
/// Python's own reader is a machine whose programs can import and call anything. This one has the same stack,
/// but a name stays a name, and a call becomes a table row: ``Pickle/Call``. It does not recurse. Its time
/// and memory are proportional to the pickle's size.
package struct PickleMachine {
  /// The maximum size of a pickle, in bytes.
  package static let maximumSize = 100_000_000
  /// The maximum number of values on the stack, of memo entries, and of containers. Real files stay below a
  /// tenth of it.
  static let limit = 4_000_000

  /// The expected form of persistent ids.
  package enum References: Sendable {
    /// Storages, and classes of modules.
    case storages
    /// Like ``storages``, for TorchScript, where the file defines its own classes.
    case torchScript
    /// Any form, kept as it is: tar files.
    case kept
  }

  var pickle: Pickle
  let references: References
  private var cursor: PickleCursor
  private var stack: [Pickle.Value] = []
  private var marks: [Int32] = []
  private var memo: [Pickle.Value?] = []
  /// The number of memo entries: the key that the next MEMOIZE uses.
  private var memoCount = 0
  /// Rows of globals, by module and name. ``refusedRows`` has those that are refused.
  private var globalRows: [[UInt8]: UInt32] = [:]
  private var globalRowsOfTexts: [UInt64: UInt32] = [:]
  private var globalBytes = 0
  var refusedRows: Set<UInt32> = []
  private var refusal: FormatError?
  /// Rows of storages by key, and by the row of the key's text.
  var storageRows: [[UInt8]: Int32] = [:]
  var storageRowsOfTexts: [UInt32: Int32] = [:]
  /// The first text row of each dictionary key: by the key's bytes, and by other rows of the same text.
  private var keys: [[UInt8]: UInt32] = [:]
  private var keysOfTexts: [UInt32: UInt32] = [:]
  /// The number of values copied from one container to another so far.
  var copied = 0
  /// The offset of the current opcode.
  private(set) var position = 0

  /// Reads the pickle that begins at `start` of `bytes`. `offset` is the position of `bytes` in the file.
  /// Throws `truncated` if there is no STOP.
  package static func read(
    _ bytes: [UInt8], from start: Int = 0, at offset: UInt64, references: References = .storages
  ) throws(FormatError) -> Pickle {
    var machine = PickleMachine(bytes, start, offset, references)
    return try machine.run(from: start)
  }

  private init(_ bytes: [UInt8], _ start: Int, _ offset: UInt64, _ references: References) {
    pickle = Pickle(bytes, at: offset)
    cursor = PickleCursor(bytes, at: offset, from: start)
    self.references = references
  }

  private mutating func run(from start: Int) throws(FormatError) -> Pickle {
    do throws(FormatError) {
      try run()
    } catch {
      if case .global = error.problem { throw error }
      // A refused name matters more than any other error.
      throw refusal ?? error
    }
    if let refusal { throw refusal }
    pickle.end = cursor.position
    pickle.size = cursor.position - start
    return pickle
  }

  private mutating func run() throws(FormatError) {
    while true {
      position = cursor.position
      let byte = try cursor.byte()
      guard let opcode = PickleOpcode(rawValue: byte) else {
        throw FormatError(at: pickle.offset + UInt64(position), .opcode(byte))
      }
      if opcode == .stop { break }
      try step(opcode)
      guard max(stack.count, marks.count, pickle.containers.count, pickle.objects.count) <= Self.limit else {
        throw error("more than \(Self.limit) values")
      }
    }
    pickle.root = try pop()
    guard stack.isEmpty, marks.isEmpty else { throw error("values are left on the stack at its end") }
  }

  func error(_ text: String) -> FormatError {
    FormatError(at: pickle.offset + UInt64(position), .malformed(.pickle, text))
  }

  /// The error about a refused name.
  func refusal(of row: UInt32, isCalled: Bool) -> FormatError {
    FormatError(
      at: pickle.offset + UInt64(position),
      .global(name: pickle.globalName(.global(row)) ?? [], isCalled: isCalled))
  }

  // MARK: - The stack

  /// The lowest stack position that opcodes can access: values below the last mark are hidden until the mark
  /// is removed.
  private var bottom: Int { Int(marks.last ?? 0) }

  private mutating func pop() throws(FormatError) -> Pickle.Value {
    guard stack.count > bottom, let value = stack.popLast() else {
      throw error("an opcode needs more values than the stack has")
    }
    return value
  }

  /// The top of the stack, without removing it.
  private func top() throws(FormatError) -> Pickle.Value {
    guard stack.count > bottom, let value = stack.last else {
      throw error("an opcode needs more values than the stack has")
    }
    return value
  }

  private mutating func popMark() throws(FormatError) -> Int {
    guard let mark = marks.popLast() else { throw error("an opcode needs a mark, and the stack has none") }
    return Int(mark)
  }

  /// Replaces the values from position `start` on with a container of them.
  private mutating func collect(_ kind: Pickle.Container.Kind, from start: Int) {
    let row = pickle.add(kind)
    pickle.append(stack[start...], to: row)
    stack.removeSubrange(start...)
    stack.append(.container(row))
  }

  private mutating func collect(_ kind: Pickle.Container.Kind, last count: Int) throws(FormatError) {
    guard stack.count - bottom >= count else { throw error("an opcode needs more values than the stack has") }
    collect(kind, from: stack.count - count)
  }

  private mutating func remember(at index: Int) throws(FormatError) {
    let value = try top()
    // Writers count upwards. A larger index would only make the table large.
    guard index < Self.limit, index < 1 << 16 + pickle.bytes.count else {
      throw error("a memo index is too large")
    }
    if index >= memo.count { memo += repeatElement(nil, count: index - memo.count + 1) }
    if memo[index] == nil { memoCount += 1 }
    memo[index] = value
  }

  private mutating func recall(_ index: Int) throws(FormatError) {
    guard index < memo.count, let value = memo[index] else {
      throw error("a memo entry does not exist")
    }
    stack.append(value)
  }

  // MARK: - Opcodes

  private mutating func step(_ opcode: PickleOpcode) throws(FormatError) {
    switch opcode {
    case .proto:
      let version = try cursor.number(1)
      guard version <= 5 else { throw error("unsupported protocol \(version) (the latest is 5)") }
    case .frame: try cursor.skip(8)
    case .stop: break
    case .mark: marks.append(Int32(stack.count))
    case .pop: if stack.count > bottom { stack.removeLast() } else { _ = try popMark() }
    case .popMark: stack.removeSubrange(try popMark()...)
    case .global: stack.append(.global(try global(try cursor.line(), try cursor.line())))
    case .stackGlobal:
      guard case .text(let name) = try pop(), case .text(let module) = try pop() else {
        throw error("a module or class name is not a string")
      }
      // A pickle can name the same two texts a million times.
      let texts = UInt64(module) << 32 | UInt64(name)
      var row = globalRowsOfTexts[texts]
      if row == nil { row = try global(pickle.texts[Int(module)], pickle.texts[Int(name)]) }
      guard let row else { break }
      globalRowsOfTexts[texts] = row
      stack.append(.global(row))
    case .newObject, .reduce:
      let arguments = try pop()
      let function = try pop()
      stack.append(try call(function, arguments, isNew: opcode == .newObject))
    case .newObjectEx:
      let (keywords, arguments) = (try pop(), try pop())
      stack.append(try call(try pop(), arguments, isNew: true, keywords: keywords))
    case .inst:
      let function = Pickle.Value.global(try global(try cursor.line(), try cursor.line()))
      collect(.tuple, from: try popMark())
      stack.append(try call(function, try pop()))
    case .obj:
      let mark = try popMark()
      guard stack.count > mark else { throw error("an opcode needs more values than the stack has") }
      collect(.tuple, from: mark + 1)
      let arguments = try pop()
      stack.append(try call(try pop(), arguments))
    case .build: try build(try pop())
    case .append: try add(from: stack.count - 1)
    case .appends, .addItems: try add(from: try popMark())
    case .setItem: try set(from: stack.count - 2)
    case .setItems: try set(from: try popMark())
    case .tuple, .frozenSet: collect(.tuple, from: try popMark())
    case .list: collect(.list, from: try popMark())
    case .dict:
      let mark = try popMark()
      guard (stack.count - mark).isMultiple(of: 2) else { throw error("a dictionary key has no value") }
      internKeys(from: mark)
      collect(.dictionary, from: mark)
    case .emptyTuple: collect(.tuple, from: stack.count)
    case .tuple1: try collect(.tuple, last: 1)
    case .tuple2: try collect(.tuple, last: 2)
    case .tuple3: try collect(.tuple, last: 3)
    case .emptyList, .emptySet: collect(.list, from: stack.count)
    case .emptyDict: collect(.dictionary, from: stack.count)
    case .binPersistentID: stack.append(try persistent(try pop()))
    case .get: try recall(try number(try cursor.line()))
    case .binGet: try recall(try cursor.number(1))
    case .longBinGet: try recall(try cursor.number(4))
    case .put: try remember(at: try number(try cursor.line()))
    case .binPut: try remember(at: try cursor.number(1))
    case .longBinPut: try remember(at: try cursor.number(4))
    case .memoize: try remember(at: memoCount)
    default: stack.append(try literal(opcode))
    }
  }

  /// A literal value.
  private mutating func literal(_ opcode: PickleOpcode) throws(FormatError) -> Pickle.Value {
    switch opcode {
    case .newTrue: return .bool(true)
    case .newFalse: return .bool(false)
    case .int:
      let line = try cursor.line()
      let text = pickle[line]
      if text.elementsEqual("01".utf8) || text.elementsEqual("00".utf8) {
        return .bool(text.last == UInt8(ascii: "1"))
      }
      return decimal(line)
    case .long: return decimal(try cursor.line())
    case .binInt: return .small(Int32(truncatingIfNeeded: try cursor.number(4)))
    case .binInt1: return .small(Int32(try cursor.number(1)))
    case .binInt2: return .small(Int32(try cursor.number(2)))
    case .long1: return integer(try cursor.long(lengthBytes: 1))
    case .long4: return integer(try cursor.long(lengthBytes: 4))
    case .binFloat:
      try cursor.skip(8)
      return .number
    case .float:
      _ = try cursor.line()
      return .number
    case .string: return .text(try decoded(PickledText.literal(pickle[try cursor.line()])))
    case .unicode: return .text(try decoded(PickledText.unicode(pickle[try cursor.line()])))
    case .binUnicode, .binString: return .text(add(try cursor.text(lengthBytes: 4)))
    case .shortBinUnicode, .shortBinString: return .text(add(try cursor.text(lengthBytes: 1)))
    case .binUnicode8: return .text(add(try cursor.text(lengthBytes: 8)))
    case .binBytes: return .bytes(add(try cursor.text(lengthBytes: 4)))
    case .shortBinBytes: return .bytes(add(try cursor.text(lengthBytes: 1)))
    case .binBytes8, .byteArray8: return .bytes(add(try cursor.text(lengthBytes: 8)))
    default: return .none
    }
  }

  private mutating func add(_ text: Pickle.Text) -> UInt32 {
    pickle.texts.append(text)
    return UInt32(pickle.texts.count - 1)
  }

  private mutating func decoded(_ bytes: [UInt8]?) throws(FormatError) -> UInt32 {
    guard let bytes else { throw error("invalid string literal") }
    let start = pickle.bytes.count + pickle.decoded.count
    pickle.decoded += bytes
    return add(Pickle.Text(start: UInt32(start), count: UInt32(bytes.count)))
  }

  private mutating func integer(_ value: Int64?) -> Pickle.Value {
    guard let value else { return .number }
    if let small = Int32(exactly: value) { return .small(small) }
    pickle.integers.append(value)
    return .large(UInt32(pickle.integers.count - 1))
  }

  /// An integer in decimal digits. Python 2 adds an L at the end.
  private mutating func decimal(_ line: Pickle.Text) -> Pickle.Value {
    let digits = pickle[line].prefix(30).prefix { $0 != UInt8(ascii: "L") }
    return integer(String(validating: digits, as: UTF8.self).flatMap { Int64($0) })
  }

  private func number(_ line: Pickle.Text) throws(FormatError) -> Int {
    guard line.count <= 10, let number = String(validating: pickle[line], as: UTF8.self).flatMap({ Int($0) }),
      number >= 0
    else { throw error("a memo key is not a number") }
    return number
  }

  private mutating func global(_ module: Pickle.Text, _ name: Pickle.Text) throws(FormatError) -> UInt32 {
    let key = Array(pickle[module]) + [0] + Array(pickle[name])
    if let row = globalRows[key] { return row }
    // 1,000 modules and 1,000 names can form 1,000,000 globals.
    globalBytes += key.count
    guard globalBytes <= 1 << 16 + 2 * pickle.bytes.count else {
      throw error("it expands to far more data than its size allows: names of classes")
    }
    let row = UInt32(pickle.globals.count)
    let full = Array(pickle[module]) + [UInt8(ascii: ".")] + Array(pickle[name])
    let meaning = Global(full: full, isTorchScript: references == .torchScript)
    pickle.globals.append((meaning, module, name))
    globalRows[key] = row
    if meaning == .unknown, RefusedGlobals.contains(module: pickle[module], name: pickle[name], full: full) {
      refusedRows.insert(row)
      // A later call would give a more precise error.
      if refusal == nil { refusal = refusal(of: row, isCalled: false) }
    }
    return row
  }

  // MARK: - Contents

  /// Adds the values from position `start` on to the list or object before them.
  private mutating func add(from start: Int) throws(FormatError) {
    guard start > bottom, start <= stack.count else { throw error("values are appended to nothing") }
    switch stack[start - 1] {
    case .container(let row) where pickle.containers[Int(row)].kind == .list:
      pickle.append(stack[start...], to: row)
    case .object(let row):
      let list =
        pickle.objects[Int(row)].items < 0 ? pickle.add(.list) : UInt32(pickle.objects[Int(row)].items)
      pickle.objects[Int(row)].items = Int32(list)
      pickle.append(stack[start...], to: list)
    default: throw error("values are appended to something other than a list or object")
    }
    stack.removeSubrange(start...)
  }

  /// Adds the alternating keys and values from position `start` on to the dictionary or object before them.
  private mutating func set(from start: Int) throws(FormatError) {
    guard start > bottom, (stack.count - start).isMultiple(of: 2) else {
      throw error("items are set on nothing")
    }
    internKeys(from: start)
    switch stack[start - 1] {
    case .container(let row) where pickle.containers[Int(row)].kind == .dictionary:
      pickle.append(stack[start...], to: row)
    case .object(let row):
      let entries =
        pickle.objects[Int(row)].entries < 0
        ? pickle.add(.dictionary) : UInt32(pickle.objects[Int(row)].entries)
      pickle.objects[Int(row)].entries = Int32(entries)
      pickle.append(stack[start...], to: entries)
    default: throw error("items are set on something other than a dictionary or object")
    }
    stack.removeSubrange(start...)
  }

  private mutating func internKeys(from start: Int) {
    for position in stride(from: start, to: stack.count, by: 2) {
      stack[position] = interned(stack[position])
    }
  }

  /// A dictionary key with a canonical row: equal texts get the same one.
  mutating func interned(_ key: Pickle.Value) -> Pickle.Value {
    guard case .text(let row) = key else { return key }
    if let first = keysOfTexts[row] { return .text(first) }
    let bytes = Array(pickle[pickle.texts[Int(row)]])
    let first = keys[bytes] ?? row
    keys[bytes] = first
    keysOfTexts[row] = first
    return .text(first)
  }

  /// Sets the state of the value on top of the stack.
  private mutating func build(_ state: Pickle.Value) throws(FormatError) {
    switch try top() {
    case .container(let row):
      let states = pickle.attributes[row] ?? pickle.add(.list)
      pickle.attributes[row] = states
      pickle.append([state], to: states)
    case .object(let row):
      let states =
        pickle.objects[Int(row)].states < 0 ? pickle.add(.list) : UInt32(pickle.objects[Int(row)].states)
      pickle.objects[Int(row)].states = Int32(states)
      pickle.append([state], to: states)
    case .tensor(let row): try build(tensor: Int(row), state)
    case .external where references == .kept: break
    default: throw error("a state is set on a value that cannot have one")
    }
  }
}
