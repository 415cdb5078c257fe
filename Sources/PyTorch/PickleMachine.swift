/// Reads a pickle as a description and carries nothing out.
///
/// Python's own reader is a machine whose programs import and call what they please. This one has the same
/// stack, but names become tokens of an allowlist, and calls become rows of a table. An opcode or a name that
/// it does not know ends it. It does not recurse, and its memory is at most proportional to the pickle's size.
struct PickleMachine {
  /// The longest pickle that is read, in bytes.
  static let maximumSize = 100_000_000
  /// The most values that wait on the stack, that are remembered, and that hold others. Real files stay below a
  /// tenth.
  private static let limit = 4_000_000

  private var pickle: Pickle
  private let isTorchScript: Bool
  private var cursor: PickleCursor
  private var stack: [Pickle.Value] = []
  private var marks: [Int] = []
  private var memo: [Pickle.Value?] = []
  /// How many values of states have been copied to instances.
  private var copied = 0
  /// Where the opcode stands that is being carried out.
  private var position = 0

  /// Reads the pickle that begins at `start` of `bytes`; `offset` is where `bytes` begins in the file. Throws
  /// `truncated` where it has no end.
  static func read(_ bytes: [UInt8], from start: Int = 0, at offset: UInt64, isTorchScript: Bool = false)
    throws(FormatError) -> Pickle
  {
    var machine = PickleMachine(bytes, start, offset, isTorchScript)
    return try machine.run()
  }

  private init(_ bytes: [UInt8], _ start: Int, _ offset: UInt64, _ isTorchScript: Bool) {
    pickle = Pickle(bytes, at: offset)
    cursor = PickleCursor(bytes, at: offset, from: start)
    self.isTorchScript = isTorchScript
  }

  private mutating func run() throws(FormatError) -> Pickle {
    while true {
      position = cursor.position
      let byte = try cursor.byte()
      guard let opcode = PickleOpcode(rawValue: byte) else { throw try refusal(of: byte) }
      if opcode == .stop { break }
      try step(opcode)
      guard max(stack.count, marks.count, pickle.containers.count) <= Self.limit else {
        throw error("it holds more than \(Self.limit) values")
      }
    }
    pickle.root = try pop()
    guard stack.isEmpty, marks.isEmpty else { throw error("values are left over at its end") }
    pickle.size = cursor.position
    return pickle
  }

  private func error(_ text: String) -> FormatError {
    FormatError(at: pickle.offset + UInt64(position), .malformed(.pickle, text))
  }

  /// Why an opcode that is not known ends the machine. INST names what it wants to call.
  private mutating func refusal(of byte: UInt8) throws(FormatError) -> FormatError {
    guard byte == UInt8(ascii: "i") else {
      return FormatError(at: pickle.offset + UInt64(position), .opcode(byte))
    }
    return refusal(module: try cursor.line(), name: try cursor.line())
  }

  private func refusal(module: Pickle.Text, name: Pickle.Text) -> FormatError {
    FormatError(
      at: pickle.offset + UInt64(position), .global(module: Array(pickle[module]), name: Array(pickle[name])))
  }

  // MARK: - The stack

  private mutating func pop() throws(FormatError) -> Pickle.Value {
    // What is below a mark is not to be had before the mark is gone.
    guard stack.count > marks.last ?? 0, let value = stack.popLast() else {
      throw error("it takes a value where there is none")
    }
    return value
  }

  private mutating func popToMark() throws(FormatError) -> [Pickle.Value] {
    guard let mark = marks.popLast() else { throw error("it goes back to a mark that it has not set") }
    let values = Array(stack[mark...])
    stack.removeSubrange(mark...)
    return values
  }

  private mutating func pop(_ count: Int) throws(FormatError) -> [Pickle.Value] {
    guard stack.count - (marks.last ?? 0) >= count else {
      throw error("it takes a value where there is none")
    }
    let values = Array(stack.suffix(count))
    stack.removeLast(count)
    return values
  }

  private mutating func push(_ kind: Pickle.Container.Kind, _ items: [Pickle.Value] = []) {
    stack.append(.container(Int32(pickle.containers.count)))
    pickle.containers.append(Pickle.Container(kind: kind, items: items))
  }

  private mutating func remember(at index: Int) throws(FormatError) {
    guard stack.count > marks.last ?? 0, let value = stack.last else {
      throw error("it remembers a value where there is none")
    }
    // Writers count upwards. A number out of nowhere would only make the table large.
    guard index < Self.limit, index < pickle.bytes.count else { throw error("it remembers too many values") }
    if index >= memo.count { memo += repeatElement(nil, count: index - memo.count + 1) }
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
      guard (2...5).contains(version) else { throw error("its protocol \(version) is not PyTorch's") }
    case .frame: try cursor.skip(8)
    case .stop: break
    case .global: try global(try cursor.line(), try cursor.line())
    case .stackGlobal:
      let names = try pop(2)
      guard case .text(let module) = names[0], case .text(let name) = names[1] else {
        throw error("it makes a global of what is no name")
      }
      try global(module, name)
    case .newObject, .reduce:
      let operands = try pop(2)
      stack.append(try call(operands[0], operands[1], isNew: opcode == .newObject))
    case .build: try build(try pop())
    case .append: try add([try pop()])
    case .appends, .addItems: try add(try popToMark())
    case .setItem: try set(try pop(2))
    case .setItems: try set(try popToMark())
    case .mark: marks.append(stack.count)
    case .tuple: push(.tuple, try popToMark())
    case .emptyTuple: push(.tuple)
    case .tuple1: push(.tuple, try pop(1))
    case .tuple2: push(.tuple, try pop(2))
    case .tuple3: push(.tuple, try pop(3))
    case .emptyList, .emptySet: push(.list)
    case .emptyDict: push(.dictionary)
    case .binPersistentID: stack.append(try storage(try pop()))
    case .binGet: try recall(try cursor.number(1))
    case .longBinGet: try recall(try cursor.number(4))
    case .binPut: try remember(at: try cursor.number(1))
    case .longBinPut: try remember(at: try cursor.number(4))
    case .memoize: try remember(at: memo.count)
    default: stack.append(try literal(opcode))
    }
  }

  /// A value that stands in the pickle as it is.
  private mutating func literal(_ opcode: PickleOpcode) throws(FormatError) -> Pickle.Value {
    switch opcode {
    case .newTrue: return .bool(true)
    case .newFalse: return .bool(false)
    case .binInt: return .integer(Int64(Int32(truncatingIfNeeded: try cursor.number(4))))
    case .binInt1: return .integer(Int64(try cursor.number(1)))
    case .binInt2: return .integer(Int64(try cursor.number(2)))
    case .long1: return try cursor.long()
    case .binFloat:
      try cursor.skip(8)
      return .inert
    case .binUnicode, .binString, .binBytes: return .text(try cursor.text(lengthBytes: 4))
    case .shortBinUnicode, .shortBinString, .shortBinBytes: return .text(try cursor.text(lengthBytes: 1))
    default: return .none
    }
  }

  private mutating func global(_ module: Pickle.Text, _ name: Pickle.Text) throws(FormatError) {
    guard
      let meaning = Global(module: pickle[module], name: pickle[name], isTorchScript: isTorchScript)
    else { throw refusal(module: module, name: name) }
    stack.append(.global(Int32(pickle.globals.count)))
    pickle.globals.append((meaning, module, name))
  }

  /// What a call or an instantiation stands for.
  private mutating func call(_ function: Pickle.Value, _ arguments: Pickle.Value, isNew: Bool)
    throws(FormatError) -> Pickle.Value
  {
    guard let meaning = pickle.meaning(function) else { throw error("it calls what is no function") }
    guard case .container(let row) = arguments, pickle.containers[Int(row)].kind == .tuple else {
      throw error("it calls a function with what are no arguments")
    }
    let first = pickle.containers[Int(row)].items.first
    switch meaning {
    case .rebuild(.parameter):
      guard case .tensor? = first else { throw error("it makes a parameter of what is no tensor") }
      return first ?? .none
    case .rebuild(let rebuild):
      pickle.tensors.append(Pickle.Call(rebuild: rebuild, arguments: row, position: position))
      return .tensor(Int32(pickle.tensors.count - 1))
    case .object: push(.object)
    case .dictionary:
      // Not copied: it may be recalled a million times.
      if let first, pickle.sequence(first) != nil { push(.pairs, [first]) } else { push(.dictionary) }
    case .sequence:
      if case .container? = first { return first ?? .none }
      push(.list)
    case .inert: return .inert
    case .storage, .dtype, .tensorClass:
      throw error(
        isNew ? "it makes an instance of what PyTorch never does" : "it calls what PyTorch never does")
    }
    return stack.removeLast()
  }

  /// Attributes, which only instances have that are looked into.
  private mutating func build(_ state: Pickle.Value) throws(FormatError) {
    switch stack.count > marks.last ?? 0 ? stack.last : nil {
    case .container(let row)? where pickle.containers[Int(row)].kind == .object:
      // Where there are slots, a pair of which either half may be none.
      let parts = pickle.sequence(state) ?? [state]
      for part in parts where parts.count <= 2 {
        guard case .container(let source) = part, pickle.containers[Int(source)].kind == .dictionary else {
          continue
        }
        let items = pickle.containers[Int(source)].items
        // One state may be recalled for a million instances.
        copied += items.count
        guard copied <= Self.limit else { throw error("it holds more than \(Self.limit) values") }
        pickle.containers[Int(row)].items += items
      }
    case .container?, .tensor?, .inert?: break
    default: throw error("it gives a state to what has none")
    }
  }

  /// Adds to a list, or to an instance that is a list too.
  private mutating func add(_ items: [Pickle.Value]) throws(FormatError) {
    guard stack.count > marks.last ?? 0, case .container(let row)? = stack.last else {
      throw error("it adds to what is no list")
    }
    switch pickle.containers[Int(row)].kind {
    case .list: pickle.containers[Int(row)].items += items
    case .object:
      let count = pickle.containers[Int(row)].items.count / 2
      for (position, item) in items.enumerated() {
        pickle.containers[Int(row)].items += [.integer(Int64(count + position)), item]
      }
    default: throw error("it adds to what is no list")
    }
  }

  /// Sets items of a dictionary: keys and values in turn.
  private mutating func set(_ items: [Pickle.Value]) throws(FormatError) {
    guard stack.count > marks.last ?? 0, case .container(let row)? = stack.last else {
      throw error("it sets items of what is no dictionary")
    }
    let kind = pickle.containers[Int(row)].kind
    guard kind == .dictionary || kind == .object, items.count.isMultiple(of: 2) else {
      throw error("it sets items of what is no dictionary")
    }
    pickle.containers[Int(row)].items += items
  }

  /// A persistent id: `("storage", class, key, location, count)`, and in files of the old form a sixth item.
  private mutating func storage(_ id: Pickle.Value) throws(FormatError) -> Pickle.Value {
    guard let items = pickle.sequence(id), (5...6).contains(items.count), case .text(let kind) = items[0],
      pickle[kind].elementsEqual("storage".utf8), case .storage(let type)? = pickle.meaning(items[1]),
      case .text(let key) = items[2], let count = pickle.count(items[4])
    else { throw error("it refers to something other than a storage, such as a pickled module") }
    var storage = Pickle.Storage(type: type, key: key, count: count, start: 0)
    // A view is a part of another storage: its own key, where it begins, and its size.
    if let view = items.count == 6 ? pickle.sequence(items[5]) : nil {
      guard view.count == 3, let start = pickle.count(view[1]), let size = pickle.count(view[2]) else {
        throw error("it refers to a view of a storage that cannot be")
      }
      (storage.start, storage.count) = (start, size)
    }
    pickle.storages.append(storage)
    return .storage(Int32(pickle.storages.count - 1))
  }
}
