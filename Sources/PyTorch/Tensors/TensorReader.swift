/// Makes tensors from the calls in a pickle, and checks each number against the file. Each call is examined
/// once, however often its tensor is named.
struct TensorReader {
  let pickle: Pickle
  /// The range in the file of each storage of the pickle, by row.
  let storages: [Range<UInt64>?]
  /// The meaning of the persistent ids: tar files.
  private let externals: [External]
  /// The results of the calls examined so far.
  private var found: [Result?]
  private var foundExternals: [Int: Result] = [:]
  /// The layouts by the tuples of shape and strides.
  private var layouts: [Tuples: UInt32] = [:]
  /// Whether a dictionary of tensors' metadata changes the elements, for those examined so far.
  var metadata: [UInt32: Bool] = [:]
  /// The budget of dimensions that may still be stored.
  var room: Int

  /// More dimensions than any tensor has: PyTorch's own loops end at 64.
  static let maximumRank = 1024

  /// More arguments than any function of tensors has.
  private static let maximumArguments = 64

  /// The result of a call.
  enum Result {
    /// A row of ``TensorTable/descriptions``.
    case tensor(UInt32)
    case omission(ElementType?, Omission.Reason)
  }

  struct Tuples: Hashable {
    var shape: UInt32
    var strides: UInt32
  }

  /// `storages` has a place for each of the pickle's.
  init(_ pickle: Pickle, storages: [Range<UInt64>?], externals: [External]) {
    self.pickle = pickle
    self.storages = storages
    self.externals = externals
    found = Array(repeating: nil, count: pickle.tensors.count)
    room = 1 << 16 + pickle.size
  }

  /// The result of the call in a row; `name` is for errors.
  mutating func tensor(_ row: Int, name: [UInt8], into table: inout TensorTable) throws(FormatError) -> Result
  {
    if let result = found[row] { return result }
    let result = try read(row, name, &table)
    found[row] = result
    return result
  }

  func error(_ row: Int, _ name: [UInt8], _ text: String) -> FormatError {
    FormatError(at: pickle.offset + UInt64(pickle.tensors[row].position), .malformed(.tensor(name), text))
  }

  /// What a call comes to.
  private enum Call {
    /// A tensor of a storage's elements: the function and its arguments.
    case elements(Global.Rebuild, [Pickle.Value])
    /// The tensor of another call, in this row.
    case other(Int)
    case result(Result)
  }

  private mutating func read(_ first: Int, _ name: [UInt8], _ table: inout TensorTable) throws(FormatError)
    -> Result
  {
    var row = first
    // The type of the whole, where a call says so.
    var wanted: ElementType?
    // A call can give another call's tensor. No writer makes a chain of them.
    for _ in 0..<16 {
      switch try call(row, name, &wanted, &table) {
      case .other(let other): row = other
      case .result(let result): return result
      case .elements(let rebuild, let arguments):
        let result = try elements(rebuild, arguments, row, name, &table)
        guard let wanted, case .tensor(let description) = result,
          table.descriptions[Int(description)].type != wanted
        else { return result }
        return .omission(wanted, .kind(.device))
      }
    }
    throw error(first, name, "is made in an unusual way")
  }

  private mutating func call(
    _ row: Int, _ name: [UInt8], _ wanted: inout ElementType?, _ table: inout TensorTable
  ) throws(FormatError) -> Call {
    let call = pickle.tensors[row]
    guard pickle.containers[Int(call.arguments)].count <= Self.maximumArguments else {
      throw error(row, name, "is made in an unusual way")
    }
    var rebuild = call.rebuild
    var arguments = pickle.items(of: call.arguments)
    if rebuild == .fromType {
      let inner = try callOfType(arguments, row, name)
      guard case .elements(let function, let own) = inner else { return inner }
      (rebuild, arguments) = (function, own)
    }
    if rebuild == .copied {
      // torch.load would convert a copy of another type.
      guard arguments.count >= 2, case .tensor(let copy) = arguments[0],
        case .dtype(let type)? = pickle.meaning(arguments[1]), wanted == nil || wanted == type
      else { return .result(.omission(type(of: arguments), .kind(.device))) }
      wanted = type
      return .other(Int(copy))
    }
    if case .unsupported(let kind) = rebuild { return .result(.omission(type(of: arguments), .kind(kind))) }
    if call.state >= 0 {
      let state = pickle.items(of: UInt32(call.state))
      if state.count == 4 {
        // (storage, offset, size, stride)
        if case .empty(let type) = rebuild, case .storage(let storage) = state[0],
          pickle.storages[Int(storage)].type != type
        {
          throw error(row, name, "has elements of two types")
        }
        (rebuild, arguments) = (.tensor, state)
      } else if case .tensor(let data) = state[0] {
        return .other(Int(data))
      } else if case .external(let data) = state[0] {
        return .result(try external(Int(data), name: name, into: &table))
      } else {
        throw error(row, name, "has a state that PyTorch does not know")
      }
    }
    if case .empty(let type) = rebuild { return .result(add(type, 0..<0, emptyLayout(&table), &table)) }
    return .elements(rebuild, arguments)
  }

  /// A call that another function makes: (function, class, arguments, state), for any class.
  private func callOfType(_ arguments: [Pickle.Value], _ row: Int, _ name: [UInt8]) throws(FormatError)
    -> Call
  {
    guard arguments.count >= 3, case .container(let tuple) = arguments[2],
      pickle.containers[Int(tuple)].count <= Self.maximumArguments,
      let own = pickle.sequence(arguments[2])
    else {
      throw error(row, name, "is made in an unusual way")
    }
    switch pickle.meaning(arguments[0]) {
    case .rebuild(let inner)? where inner != .fromType: return .elements(inner, own)
    case .parameter?:
      guard case .tensor(let data)? = own.first else {
        throw error(row, name, "is made in an unusual way")
      }
      return .other(Int(data))
    default: return .result(.omission(nil, .kind(.custom)))
    }
  }

  /// (storage, offset, size, stride, requires_grad, hooks, metadata), with a dtype before the metadata in
  /// version 3.
  private mutating func elements(
    _ rebuild: Global.Rebuild, _ arguments: [Pickle.Value], _ row: Int, _ name: [UInt8],
    _ table: inout TensorTable
  ) throws(FormatError) -> Result {
    guard arguments.count >= 4, case .storage(let storageRow) = arguments[0] else {
      throw error(row, name, "has no storage of its own")
    }
    let storage = pickle.storages[Int(storageRow)]
    guard let offset = pickle.count(arguments[1]), case .container(let shapeRow) = arguments[2],
      case .container(let stridesRow) = arguments[3]
    else { throw error(row, name, "has a shape or strides that cannot be") }

    var type = storage.type
    var place = 6
    if rebuild == .tensorV3 {
      guard arguments.count >= 7, case .dtype(let own)? = pickle.meaning(arguments[6]) else {
        throw error(row, name, "has no element type")
      }
      type = own
      place = 7
    }
    if arguments.count > place, isLazy(arguments[place]) { return .omission(type, .lazy) }
    let bytes = try range(of: storage, storageRow, row, name)
    let tuples = Tuples(shape: shapeRow, strides: stridesRow)
    if layouts[tuples] == nil {
      layouts[tuples] = try layout(tuples, row, name, &table)
    }
    guard let layout = layouts[tuples],
      let range = Self.range(offset, table.layouts[Int(layout)], type.byteCount, in: bytes)
    else {
      throw error(row, name, "reaches beyond its storage, or has more bytes than a file can")
    }
    return add(type, range, layout, &table)
  }

  /// The meaning of a persistent id.
  mutating func external(_ row: Int, name: [UInt8], into table: inout TensorTable) throws(FormatError)
    -> Result
  {
    if let result = foundExternals[row] { return result }
    let result = try readExternal(row, name, &table)
    foundExternals[row] = result
    return result
  }

  private func readExternal(_ row: Int, _ name: [UInt8], _ table: inout TensorTable) throws(FormatError)
    -> Result
  {
    func error(_ position: UInt64?, _ text: String) -> FormatError {
      FormatError(at: position, .malformed(.tensor(name), text))
    }
    switch externals.indices.contains(row) ? externals[row] : .missing {
    case .missing: throw error(nil, "is not in the archive")
    case .storage(let type, _): return .omission(type, .bareStorage)
    case .tensor(let type, let bytes, let offset, let shape, let strides, let position):
      guard let layout = TensorTable.Layout(shape, strides, start: table.dimensions.count),
        let range = Self.range(offset, layout, type.byteCount, in: bytes)
      else { throw error(position, "reaches beyond its storage, or has more bytes than a file can") }
      table.dimensions += shape
      table.dimensions += strides
      table.layouts.append(layout)
      return add(type, range, UInt32(table.layouts.count - 1), &table)
    }
  }

  private func add(_ type: ElementType, _ range: Range<UInt64>, _ layout: UInt32, _ table: inout TensorTable)
    -> Result
  {
    table.descriptions.append(
      TensorTable.Description(type: type, layout: layout, begin: range.lowerBound, end: range.upperBound))
    return .tensor(UInt32(table.descriptions.count - 1))
  }

  /// The layout of `torch.Tensor()`, whose shape is `[0]`.
  private func emptyLayout(_ table: inout TensorTable) -> UInt32 {
    table.layouts.append(
      TensorTable.Layout(
        start: UInt32(table.dimensions.count), rank: 1, isContiguous: true, elements: 0, reach: 0))
    table.dimensions += [0, 1]
    return UInt32(table.layouts.count - 1)
  }
}
