/// Finds the tensors in a pickle's objects. Their dotted names consist of dictionary keys, attribute names
/// and list positions.
struct TensorWalk {
  private let pickle: Pickle
  private var reader: TensorReader
  private var table: TensorTable
  /// The name of the current position.
  private var name: [UInt8] = []
  /// Which containers and objects have been visited, by row.
  private var containers: [Mark]
  private var objects: [Mark]
  /// Budgets: the values that may be visited, and the bytes of names that may be stored. A list can occur
  /// 1,000 times in a list that occurs 1,000 times, so a small pickle can describe more than memory can hold.
  private var steps: Int
  private var room: Int
  /// The budget of dimensions over all names. Tensors share stored shapes, but metadata.json and listings
  /// print the shape of each name.
  private var dimensions: Int

  /// The maximum nesting depth. Deeper values are omitted; real files stay below 200.
  private static let maximumDepth = 500

  private enum Mark: UInt8 {
    case new
    /// The current position is inside it: objects often refer to their owners.
    case open
    /// It contains no tensor, or it is an object that needs no second visit.
    case done
  }

  /// Adds the tensors of a pickle to `table`. Their names start with `name`, which is UTF-8.
  static func walk(
    _ pickle: Pickle, storages: [Range<UInt64>?], externals: [External] = [], name: [UInt8] = [],
    into table: inout TensorTable
  ) throws(FormatError) {
    let reader = TensorReader(pickle, storages: storages, externals: externals)
    var walk = TensorWalk(reader, name, table)
    // Avoids a second copy of the growing table.
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
      throw error("it expands to far more data than its size allows: repeated references")
    }
  }

  /// The name under which the current position is stored. A tensor that was saved alone is named "tensor".
  private mutating func writtenName() throws(FormatError) -> [UInt8] {
    let name = name.isEmpty ? Array("tensor".utf8) : name
    guard (try? UTF8Span(validating: name.span)) != nil else { throw error("a tensor's name is not UTF-8") }
    guard Self.spend(name.count, from: &room) else {
      throw error("it expands to far more data than its size allows: long names")
    }
    return name
  }

  // MARK: - Values

  /// Visits a value. Returns false if a second visit cannot find anything.
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
      // Eleven objects that refer to each other form 11! paths. So only modules are visited more than once.
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
        throw error("it expands to far more data than its size allows: dimensions of tensors")
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
    // state_dict() leaves these parts out of the names of a module's tensors.
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

  /// Visits the state of a tensor that wraps others (a DTensor, a ShardedTensor, a quantised one): they are
  /// shown below its name.
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

  /// Visits the positional arguments, the states, and the items added by position and by key.
  private mutating func visit(_ object: Pickle.Object, depth: Int) throws(FormatError) -> Bool {
    var holds = try visit(items: pickle.arguments(of: object), depth: depth)
    if object.states >= 0, try visit(states: UInt32(object.states), depth: depth) { holds = true }
    for part in [object.items, object.entries] where part >= 0 {
      if try visit(.container(UInt32(part)), depth: depth + 1) { holds = true }
    }
    return holds
  }

  /// Visits an object's states, which add no part to names: the entries of a dictionary are attributes, and a
  /// tensor gets the object's name. Two dictionaries, or one and None, are attributes and slots.
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
    // A pickle can refer to one long key a million times.
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
