/// Finds the tensors of what a pickle describes, and gives them dotted names: keys of dictionaries, attributes,
/// and positions in lists.
struct TensorWalk {
  private let pickle: Pickle
  private let reader: TensorReader
  /// What may still be looked at, in values and bytes of names. One list may stand in a thousand places, each
  /// of them in a list that does too, so that a small pickle describes more than there is room for.
  private var budget: Int
  /// The containers that lead to where it is. Instances often hold what holds them.
  private var path: Set<Int32> = []
  private(set) var tensors: [StoredTensor] = []
  private(set) var omissions: [Omission] = []

  /// How deep containers may be nested.
  private static let maximumDepth = 100

  /// Finds those of a pickle, all below `name`.
  init(_ pickle: Pickle, storages: [[UInt8]: Range<UInt64>], name: String = "") throws(FormatError) {
    self.pickle = pickle
    reader = TensorReader(pickle, storages: storages)
    budget = 1 << 16 + 16 * pickle.size
    // A tensor that was saved by itself has no name of its own.
    var name = Array(name.utf8)
    if case .container = pickle.root {} else if name.isEmpty { name = Array("tensor".utf8) }
    try visit(pickle.root, name: name, depth: 0)
  }

  private func error(_ text: String) -> FormatError {
    FormatError(at: pickle.offset, .malformed(.pickle, text))
  }

  private mutating func spend(_ amount: Int) throws(FormatError) {
    budget -= amount
    guard budget >= 0 else {
      throw error("it describes far more than it holds, by naming the same things again and again")
    }
  }

  private mutating func visit(_ value: Pickle.Value, name: [UInt8], depth: Int) throws(FormatError) {
    try spend(name.count)
    switch value {
    case .tensor(let row):
      let result = try reader.tensor(pickle.tensors[Int(row)], name: name)
      if case .tensor(let tensor) = result {
        try spend(tensor.shape.count)
        tensors.append(tensor)
      } else if case .omission(let omission) = result {
        omissions.append(omission)
      }
    case .storage(let row):
      omissions.append(Omission(name: name, type: pickle.storages[Int(row)].type, reason: .bareStorage))
    case .container(let row):
      guard depth < Self.maximumDepth else { throw error("it is nested more than \(Self.maximumDepth) deep") }
      guard path.insert(row).inserted else { return }
      try visit(pickle.containers[Int(row)], name: name, depth: depth)
      path.remove(row)
    default: break
    }
  }

  private mutating func visit(_ container: Pickle.Container, name: [UInt8], depth: Int) throws(FormatError) {
    let items = container.items
    switch container.kind {
    case .tuple, .list:
      for (position, item) in items.enumerated() {
        try spend(1)
        guard Self.holdsMore(item) else { continue }
        try visit(item, name: Self.join(name, Array(String(position).utf8)), depth: depth + 1)
      }
    case .dictionary, .object:
      for position in stride(from: 0, to: items.count, by: 2) {
        try visit(key: items[position], items[position + 1], name: name, depth: depth)
      }
    case .pairs:
      for pair in pickle.sequence(items[0]) ?? [] {
        guard let parts = pickle.sequence(pair), parts.count == 2 else {
          throw error("a dictionary is no list of pairs")
        }
        try visit(key: parts[0], parts[1], name: name, depth: depth)
      }
    }
  }

  private mutating func visit(key: Pickle.Value, _ value: Pickle.Value, name: [UInt8], depth: Int)
    throws(FormatError)
  {
    try spend(1)
    guard Self.holdsMore(value) else { return }
    if let part = try component(key) {
      try visit(value, name: Self.join(name, part), depth: depth + 1)
    } else {
      // What is below it may be nothing.
      let before = (tensors.count, omissions.count)
      try visit(value, name: Self.join(name, [UInt8(ascii: "?")]), depth: depth + 1)
      let found = tensors[before.0...].map { Omission(name: $0.name, type: $0.type, reason: .unnamed) }
      tensors.removeSubrange(before.0...)
      omissions += found
    }
  }

  /// False of what cannot hold a tensor.
  private static func holdsMore(_ value: Pickle.Value) -> Bool {
    switch value {
    case .container, .tensor, .storage: true
    default: false
    }
  }

  /// What a key is in a name; nil where it makes none.
  private func component(_ key: Pickle.Value) throws(FormatError) -> [UInt8]? {
    switch key {
    case .none: return Array("None".utf8)
    case .bool(let value): return Array((value ? "True" : "False").utf8)
    case .integer(let number): return Array(String(number).utf8)
    case .text(let text): return try utf8(text)
    case .global(let row):
      let global = pickle.globals[Int(row)]
      return try utf8(global.module) + [UInt8(ascii: ".")] + utf8(global.name)
    default: return nil
    }
  }

  private func utf8(_ text: Pickle.Text) throws(FormatError) -> [UInt8] {
    let bytes = Array(pickle[text])
    guard (try? UTF8Span(validating: bytes.span)) != nil else {
      throw FormatError(at: pickle.offset + UInt64(text.start), .malformed(.pickle, "a name is not UTF-8"))
    }
    return bytes
  }

  private static func join(_ name: [UInt8], _ part: [UInt8]) -> [UInt8] {
    name.isEmpty ? part : name + [UInt8(ascii: ".")] + part
  }
}
