/// Reads a pickle as a description, and executes nothing.
///
/// Python's own reader is a machine whose programs can import and call anything. This one has the same
/// stack, but a name stays a name, and a call becomes a row of a table: ``Pickle/Call``. It does not recurse,
/// and its time and memory are proportional to the pickle's size.
package struct PickleMachine {
  /// The maximum size of a pickle, in bytes.
  package static let maximumSize = 100_000_000
  /// The maximum numbers of values on the stack, of memo entries, and of containers. Real files stay below
  /// a tenth.
  static let limit = 4_000_000

  /// The form of a pickle's persistent ids.
  package enum References: Sendable {
    /// Storages, and classes of modules.
    case storages
    /// As ``storages``, in a pickle of TorchScript, whose classes are the file's own.
    case torchScript
    /// Any form; they are kept as they are: tar files.
    case kept
  }

  var pickle: Pickle
  let references: References
  private var cursor: PickleCursor
  private var stack: [Pickle.Value] = []
  private var marks: [Int32] = []
  private var memo: [Pickle.Value?] = []
  /// The number of memo entries, which is the key of the next MEMOIZE.
  private var memoCount = 0
  /// The rows of globals by module and name, and which of them are refused.
  private var globalRows: [[UInt8]: UInt32] = [:]
  private var globalRowsOfTexts: [UInt64: UInt32] = [:]
  private var globalBytes = 0
  var refusedRows: Set<UInt32> = []
  private var refusal: FormatError?
  /// The rows of storages by key, and by the key's row among the texts.
  var storageRows: [[UInt8]: Int32] = [:]
  var storageRowsOfTexts: [UInt32: Int32] = [:]
  /// The first row of each text that is a key of a dictionary, by its bytes and by its rows.
  private var keys: [[UInt8]: UInt32] = [:]
  private var keysOfTexts: [UInt32: UInt32] = [:]
  /// The number of values copied from one container to another.
  var copied = 0
  /// The offset of the current opcode.
  private(set) var position = 0

  /// Reads the pickle that begins at `start` of `bytes`, which are the file's from `offset` on. Throws
  /// `truncated` if it has no end.
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
      // A refused name is more important than any other problem.
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
        throw error("it holds more than \(Self.limit) values")
      }
    }
    pickle.root = try pop()
    guard stack.isEmpty, marks.isEmpty else { throw error("values are left over at its end") }
  }

  func error(_ text: String) -> FormatError {
    FormatError(at: pickle.offset + UInt64(position), .malformed(.pickle, text))
  }

  /// Why a name is refused.
  func refusal(of row: UInt32, isCalled: Bool) -> FormatError {
    FormatError(
      at: pickle.offset + UInt64(position),
      .global(name: pickle.globalName(.global(row)) ?? [], isCalled: isCalled))
  }

  // MARK: - The stack

  /// Values below a mark are inaccessible until the mark is removed.
  private var bottom: Int { Int(marks.last ?? 0) }

  private mutating func pop() throws(FormatError) -> Pickle.Value {
    guard stack.count > bottom, let value = stack.popLast() else {
      throw error("it takes a value where there is none")
    }
    return value
  }

  /// The value on the top, which stays there.
  private func top() throws(FormatError) -> Pickle.Value {
    guard stack.count > bottom, let value = stack.last else {
      throw error("it takes a value where there is none")
    }
    return value
  }

  private mutating func popMark() throws(FormatError) -> Int {
    guard let mark = marks.popLast() else { throw error("it goes back to a mark that it has not set") }
    return Int(mark)
  }

  /// Replaces the last values by a container of them; `start` is the first one's place.
  private mutating func collect(_ kind: Pickle.Container.Kind, from start: Int) {
    let row = pickle.add(kind)
    pickle.append(stack[start...], to: row)
    stack.removeSubrange(start...)
    stack.append(.container(row))
  }

  private mutating func collect(_ kind: Pickle.Container.Kind, last count: Int) throws(FormatError) {
    guard stack.count - bottom >= count else { throw error("it takes a value where there is none") }
    collect(kind, from: stack.count - count)
  }

  private mutating func remember(at index: Int) throws(FormatError) {
    let value = try top()
    // Writers count upwards. An arbitrary number would only make the table large.
    guard index < Self.limit, index < 1 << 16 + pickle.bytes.count else {
      throw error("too many memo entries")
    }
    if index >= memo.count { memo += repeatElement(nil, count: index - memo.count + 1) }
    if memo[index] == nil { memoCount += 1 }
    memo[index] = value
  }

  private mutating func recall(_ index: Int) throws(FormatError) {
    guard index < memo.count, let value = memo[index] else {
      throw error("it recalls a value that is not there")
    }
    stack.append(value)
  }

  // MARK: - Opcodes

  private mutating func step(_ opcode: PickleOpcode) throws(FormatError) {
    switch opcode {
    case .proto:
      let version = try cursor.number(1)
      guard version <= 5 else { throw error("its protocol is \(version), and the latest that is known is 5") }
    case .frame: try cursor.skip(8)
    case .stop: break
    case .mark: marks.append(Int32(stack.count))
    case .pop: if stack.count > bottom { stack.removeLast() } else { _ = try popMark() }
    case .popMark: stack.removeSubrange(try popMark()...)
    case .global: stack.append(.global(try global(try cursor.line(), try cursor.line())))
    case .stackGlobal:
      guard case .text(let name) = try pop(), case .text(let module) = try pop() else {
        throw error("it makes a global from something that is not a name")
      }
      // A pickle can refer to both a million times.
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
      guard stack.count > mark else { throw error("it takes a value where there is none") }
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
    guard let bytes else { throw error("a text is not spelled as Python does it") }
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

  /// A number in decimal digits; Python 2 adds an L at the end.
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
    // A thousand modules and a thousand names are a million globals.
    globalBytes += key.count
    guard globalBytes <= 1 << 16 + 2 * pickle.bytes.count else {
      throw error("it names far more classes than it holds names")
    }
    let row = UInt32(pickle.globals.count)
    let full = Array(pickle[module]) + [UInt8(ascii: ".")] + Array(pickle[name])
    let meaning = Global(full: full, isTorchScript: references == .torchScript)
    pickle.globals.append((meaning, module, name))
    globalRows[key] = row
    if meaning == .unknown, RefusedGlobals.contains(module: pickle[module], name: pickle[name], full: full) {
      refusedRows.insert(row)
      // A later call gives a more precise error.
      if refusal == nil { refusal = refusal(of: row, isCalled: false) }
    }
    return row
  }

  // MARK: - Contents

  /// Adds the last values to the list, or the object, before them; `start` is the first one's place.
  private mutating func add(from start: Int) throws(FormatError) {
    guard start > bottom, start <= stack.count else { throw error("it adds to what is not there") }
    switch stack[start - 1] {
    case .container(let row) where pickle.containers[Int(row)].kind == .list:
      pickle.append(stack[start...], to: row)
    case .object(let row):
      let list =
        pickle.objects[Int(row)].items < 0 ? pickle.add(.list) : UInt32(pickle.objects[Int(row)].items)
      pickle.objects[Int(row)].items = Int32(list)
      pickle.append(stack[start...], to: list)
    default: throw error("it appends to something that is not a list")
    }
    stack.removeSubrange(start...)
  }

  /// Sets items of the dictionary, or the object, before the last values: keys and values in turn.
  private mutating func set(from start: Int) throws(FormatError) {
    guard start > bottom, (stack.count - start).isMultiple(of: 2) else {
      throw error("it sets items of what is not there")
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
    default: throw error("it sets items of something that is not a dictionary")
    }
    stack.removeSubrange(start...)
  }

  private mutating func internKeys(from start: Int) {
    for position in stride(from: start, to: stack.count, by: 2) {
      stack[position] = interned(stack[position])
    }
  }

  /// The canonical form of a dictionary's key, so that equal texts have one row.
  mutating func interned(_ key: Pickle.Value) -> Pickle.Value {
    guard case .text(let row) = key else { return key }
    if let first = keysOfTexts[row] { return .text(first) }
    let bytes = Array(pickle[pickle.texts[Int(row)]])
    let first = keys[bytes] ?? row
    keys[bytes] = first
    keysOfTexts[row] = first
    return .text(first)
  }

  /// Gives a state to the value on the top of the stack.
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
    default: throw error("it gives a state to what has none")
    }
  }
}
