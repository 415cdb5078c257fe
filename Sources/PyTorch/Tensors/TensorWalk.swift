/// Finds the tensors in the objects of a pickle, and gives them dotted names: keys of dictionaries,
/// attributes, and positions in lists.
struct TensorWalk {
  private let pickle: Pickle
  private var reader: TensorReader
  private var table: TensorTable
  /// The name of the current position.
  private var name: [UInt8] = []
  /// The states of the containers and of the objects.
  private var containers: [Mark]
  private var objects: [Mark]
  /// The budgets of values to visit, and of bytes of names. One list can be in a thousand places of a list that
  /// is itself in a thousand places, so a small pickle can describe more than fits into memory.
  private var steps: Int
  private var room: Int
  /// The budget of dimensions of all names together. A shape is stored once for many tensors, but metadata.json and listings
  /// show it for each.
  private var dimensions: Int

  /// The maximum nesting depth; real files stay below 200. Deeper values are left out.
  private static let maximumDepth = 500

  private enum Mark: UInt8 {
    case new
    /// It contains the current position: objects often refer to their owners.
    case open
    /// It contains no tensor, or is an object that was visited.
    case done
  }

  /// Adds the tensors of a pickle to `table`, all below `name`, which is UTF-8.
  static func walk(
    _ pickle: Pickle, storages: [Range<UInt64>?], externals: [External] = [], name: [UInt8] = [],
    into table: inout TensorTable
  ) throws(FormatError) {
    let reader = TensorReader(pickle, storages: storages, externals: externals)
    var walk = TensorWalk(reader, name, table)
    // So that no second copy of the table exists while it grows.
    table = TensorTable()
    _ = try walk.visit(pickle.root, depth: 0)
    table = walk.table
  }

  private init(_ reader: TensorReader, _ name: [UInt8], _ table: TensorTable) {
    pickle = reader.pickle
    self.reader = reader
    self.table = table
    self.name = name
    containers = Array(repeating: .new, count: pickle.containers.count)
    objects = Array(repeating: .new, count: pickle.objects.count)
    steps = 1 << 16 + 4 * pickle.size
    room = 1 << 16 + 8 * pickle.size
    dimensions = 1 << 16 + 2 * pickle.size
  }

  private func error(_ text: String) -> FormatError {
    FormatError(at: pickle.offset, .malformed(.pickle, text))
  }

  private static func spend(_ amount: Int, from budget: inout Int) -> Bool {
    budget -= amount
    return budget >= 0
  }

  private mutating func step(_ count: Int) throws(FormatError) {
    guard Self.spend(count, from: &steps) else {
      throw error("it describes far more than it holds, by naming the same things again and again")
    }
  }

  /// The name of the current position, to be stored. A tensor that was saved by itself has no name of its own.
  private mutating func writtenName() throws(FormatError) -> [UInt8] {
    let name = name.isEmpty ? Array("tensor".utf8) : name
    guard (try? UTF8Span(validating: name.span)) != nil else { throw error("a name is not UTF-8") }
    guard Self.spend(name.count, from: &room) else {
      throw error("it describes far more than it holds, by names that are long and many")
    }
    return name
  }

  // MARK: - Values

  /// Visits a value. False if a second visit would certainly find nothing.
  private mutating func visit(_ value: Pickle.Value, depth: Int) throws(FormatError) -> Bool {
    switch value {
    case .tensor(let row):
      let name = try writtenName()
      let result = try reader.tensor(Int(row), name: name, into: &table)
      try add(result, name)
      if case .omission(_, .kind(let kind)) = result, kind == .wrapped || kind == .custom {
        try visit(stateOfWrapper: row, depth: depth)
      }
    case .external(let row):
      let name = try writtenName()
      try add(try reader.external(Int(row), name: name, into: &table), name)
    case .storage(let row): table.omit(try writtenName(), pickle.storages[Int(row)].type, .bareStorage)
    case .container(let row):
      guard containers[Int(row)] == .new else { return containers[Int(row)] == .open }
      if pickle.containers[Int(row)].count == 0, pickle.attributes[row] == nil { return false }
      guard depth < Self.maximumDepth else { return try omitDeep() }
      containers[Int(row)] = .open
      let holds = try visit(container: row, depth: depth)
      containers[Int(row)] = holds ? .new : .done
      return holds
    case .object(let row):
      guard objects[Int(row)] == .new else { return objects[Int(row)] == .open }
      guard depth < Self.maximumDepth else { return try omitDeep() }
      let object = pickle.objects[Int(row)]
      objects[Int(row)] = .open
      let holds = try visit(object, depth: depth)
      // Eleven objects that refer to each other make 11! paths, so objects other than modules are visited once.
      objects[Int(row)] = holds && isModule(object) ? .new : .done
      return holds
    default: return false
    }
    return true
  }

  private mutating func add(_ result: TensorReader.Result, _ name: [UInt8]) throws(FormatError) {
    switch result {
    case .tensor(let description):
      let layout = table.layouts[Int(table.descriptions[Int(description)].layout)]
      guard Self.spend(Int(layout.rank), from: &dimensions) else {
        throw error("it describes far more than it holds, by tensors of many dimensions with many names")
      }
      table.add(name, description)
    case .omission(let type, let reason): table.omit(name, type, reason)
    }
  }

  private mutating func omitDeep() throws(FormatError) -> Bool {
    table.omit(try writtenName(), nil, .deep)
    return true
  }

  private mutating func visit(container row: UInt32, depth: Int) throws(FormatError) -> Bool {
    var holds = false
    if let states = pickle.attributes[row] { holds = try visit(states: states, depth: depth) }
    if pickle.containers[Int(row)].kind == .dictionary {
      return try visit(dictionary: row, depth: depth) || holds
    }
    var items = pickle.items(of: row)
    if let limit = pickle.limits[row] { items.removeFirst(max(0, items.count - limit)) }
    return try visit(items: items, depth: depth) || holds
  }

  private mutating func visit(items: [Pickle.Value], depth: Int) throws(FormatError) -> Bool {
    try step(items.count + 1)
    var holds = false
    for (position, item) in items.enumerated() where Self.holdsMore(item) {
      if try visit(item, below: String(position).utf8, depth: depth) { holds = true }
    }
    return holds
  }

  private mutating func visit(dictionary row: UInt32, depth: Int) throws(FormatError) -> Bool {
    try step(Int(pickle.containers[Int(row)].count) + 1)
    let entries = pickle.entries(of: row)
    // The parts that state_dict() leaves out of the names of a module's tensors.
    let parts: [StaticString] = ["_parameters", "_buffers", "_modules"]
    let isModule = parts.allSatisfy { part in
      entries.contains { pickle.isString($0.key, part) && isDictionary($0.value) }
    }
    var holds = false
    for (key, value) in entries where Self.holdsMore(value) {
      let isPart = isModule && parts.contains { pickle.isString(key, $0) }
      if try isPart ? visit(value, depth: depth + 1) : visit(key: key, value, depth: depth) { holds = true }
    }
    return holds
  }

  /// Shows the tensors in a tensor that holds others, a DTensor, a ShardedTensor or a quantized one, below its name: they are in
  /// its state.
  private mutating func visit(stateOfWrapper row: UInt32, depth: Int) throws(FormatError) {
    let call = pickle.tensors[Int(row)]
    guard call.rebuild == .fromType, pickle.containers[Int(call.arguments)].count == 4 else { return }
    if depth < Self.maximumDepth {
      _ = try visit(state: pickle.items(of: call.arguments)[3], depth: depth)
    } else {
      _ = try omitDeep()
    }
  }

  // MARK: - Objects

  private func isDictionary(_ value: Pickle.Value?) -> Bool {
    if case .container(let row)? = value { pickle.containers[Int(row)].kind == .dictionary } else { false }
  }

  private func isModule(_ object: Pickle.Object) -> Bool {
    object.states >= 0
      && pickle.items(of: UInt32(object.states)).contains {
        isDictionary(pickle.value(of: "_modules", in: $0))
      }
  }

  /// The arguments by position, the states, the items by position and by key.
  private mutating func visit(_ object: Pickle.Object, depth: Int) throws(FormatError) -> Bool {
    var holds = try visit(items: pickle.arguments(of: object), depth: depth)
    if object.states >= 0, try visit(states: UInt32(object.states), depth: depth) { holds = true }
    for part in [object.items, object.entries] where part >= 0 {
      if try visit(.container(UInt32(part)), depth: depth + 1) { holds = true }
    }
    return holds
  }

  /// States have no name of their own: a dictionary contributes attributes, and a tensor has the object's name.
  /// Two dictionaries, or one and None, are attributes and slots.
  private mutating func visit(states row: UInt32, depth: Int) throws(FormatError) -> Bool {
    var holds = false
    for state in pickle.items(of: row) where try visit(state: state, depth: depth) { holds = true }
    return holds
  }

  private mutating func visit(state: Pickle.Value, depth: Int) throws(FormatError) -> Bool {
    try step(1)
    var parts = [state]
    if case .container(let row) = state, pickle.containers[Int(row)].kind == .tuple,
      pickle.containers[Int(row)].count == 2
    {
      let pair = pickle.items(of: row)
      if pair.allSatisfy({ $0 == .none || isDictionary($0) }) { parts = pair }
    }
    var holds = false
    for part in parts where try visit(part, depth: depth + 1) { holds = true }
    return holds
  }

  // MARK: - Names

  private mutating func visit(key: Pickle.Value, _ value: Pickle.Value, depth: Int) throws(FormatError)
    -> Bool
  {
    switch key {
    case .none: return try visit(value, below: "None".utf8, depth: depth)
    case .bool(let isTrue): return try visit(value, below: (isTrue ? "True" : "False").utf8, depth: depth)
    case .small, .large: return try visit(value, below: String(pickle.integer(key) ?? 0).utf8, depth: depth)
    case .text: return try visit(value, below: pickle.string(key) ?? [], depth: depth)
    case .global: return try visit(value, below: pickle.globalName(key) ?? [], depth: depth)
    default:
      // A key that cannot become a name.
      let count = table.rows.count
      let holds = try visit(value, below: "?".utf8, depth: depth)
      table.omit(from: count, .unnamed)
      return holds
    }
  }

  private mutating func visit(_ value: Pickle.Value, below part: some Collection<UInt8>, depth: Int)
    throws(FormatError) -> Bool
  {
    // A pickle can refer to a long key a million times.
    try step(part.count / 32)
    let count = name.count
    if count > 0 { name.append(UInt8(ascii: ".")) }
    name += part
    let holds = try visit(value, depth: depth + 1)
    name.removeSubrange(count...)
    return holds
  }

  /// False for values that cannot contain a tensor.
  private static func holdsMore(_ value: Pickle.Value) -> Bool {
    switch value {
    case .container, .object, .tensor, .storage, .external: true
    default: false
    }
  }
}
