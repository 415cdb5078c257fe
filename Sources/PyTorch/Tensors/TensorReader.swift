/// Makes tensors from a pickle's calls, and checks each number against the file. Examines each call once,
/// however often its tensor is named.
struct TensorReader {
  let pickle: Pickle
  /// The range in the file of each of the pickle's storages, by row.
  let storages: [Range<UInt64>?]
  /// What each persistent id of a tar file refers to.
  private let externals: [External]
  /// The results of the calls that were examined so far.
  private var found: [Result?]
  private var foundExternals: [Int: Result] = [:]
  /// The layouts so far, by the tuples of shape and strides.
  private var layouts: [Tuples: UInt32] = [:]
  /// Whether a dictionary of tensor metadata changes the elements, for those examined so far.
  var metadata: [UInt32: Bool] = [:]
  /// The number of dimensions that may still be stored.
  var room: Int

  /// The maximum rank. Real tensors have less: PyTorch's own loops end at 64.
  static let maximumRank = 1024

  /// The maximum number of arguments. Real functions have less.
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

  /// `storages` has one item for each of the pickle's storages.
  init(_ pickle: Pickle, storages: [Range<UInt64>?], externals: [External]) {
    self.pickle = pickle
    self.storages = storages
    self.externals = externals
    found = Array(repeating: nil, count: pickle.tensors.count)
    room = 1 << 16 + pickle.size
  }

  /// The tensor that the call in a row creates; `name` is for errors.
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

  /// How a call creates a tensor.
  private enum Call {
    /// From a storage's elements: by this function with these arguments.
    case elements(Global.Rebuild, [Pickle.Value])
    /// By the call in another row.
    case other(Int)
    case result(Result)
  }

  private mutating func read(_ first: Int, _ name: [UInt8], _ table: inout TensorTable) throws(FormatError)
    -> Result
  {
    var row = first
    // The dtype that a device copy must have.
    var wanted: ElementType?
    // One call can refer to the tensor of another. No writer makes long chains of them.
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
    throw error(first, name, "is created in an unsupported way")
  }

  private mutating func call(
    _ row: Int, _ name: [UInt8], _ wanted: inout ElementType?, _ table: inout TensorTable
  ) throws(FormatError) -> Call {
    let call = pickle.tensors[row]
    guard pickle.containers[Int(call.arguments)].count <= Self.maximumArguments else {
      throw error(row, name, "is created in an unsupported way")
    }
    var rebuild = call.rebuild
    var arguments = pickle.items(of: call.arguments)
    if rebuild == .fromType {
      let inner = try callOfType(arguments, row, name)
      guard case .elements(let function, let own) = inner else { return inner }
      (rebuild, arguments) = (function, own)
    }
    if rebuild == .copied {
      // torch.load would convert a copy of another dtype.
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
          throw error(row, name, "has two dtypes")
        }
        (rebuild, arguments) = (.tensor, state)
      } else if case .tensor(let data) = state[0] {
        return .other(Int(data))
      } else if case .external(let data) = state[0] {
        return .result(try external(Int(data), name: name, into: &table))
      } else {
        throw error(row, name, "has a state of an unknown form")
      }
    }
    if case .empty(let type) = rebuild { return .result(add(type, 0..<0, emptyLayout(&table), &table)) }
    return .elements(rebuild, arguments)
  }

  /// Reads a call through `_rebuild_from_type`: (function, class, arguments, state), for any class.
  private func callOfType(_ arguments: [Pickle.Value], _ row: Int, _ name: [UInt8]) throws(FormatError)
    -> Call
  {
    guard arguments.count >= 3, case .container(let tuple) = arguments[2],
      pickle.containers[Int(tuple)].count <= Self.maximumArguments,
      let own = pickle.sequence(arguments[2])
    else {
      throw error(row, name, "is created in an unsupported way")
    }
    switch pickle.meaning(arguments[0]) {
    case .rebuild(let inner)? where inner != .fromType: return .elements(inner, own)
    case .parameter?:
      guard case .tensor(let data)? = own.first else {
        throw error(row, name, "is created in an unsupported way")
      }
      return .other(Int(data))
    default: return .result(.omission(nil, .kind(.custom)))
    }
  }

  /// Reads the arguments (storage, offset, size, stride, requires_grad, hooks, metadata). Version 3 has a
  /// dtype before the metadata.
  private mutating func elements(
    _ rebuild: Global.Rebuild, _ arguments: [Pickle.Value], _ row: Int, _ name: [UInt8],
    _ table: inout TensorTable
  ) throws(FormatError) -> Result {
    guard arguments.count >= 4, case .storage(let storageRow) = arguments[0] else {
      throw error(row, name, "has no storage")
    }
    let storage = pickle.storages[Int(storageRow)]
    guard let offset = pickle.count(arguments[1]), case .container(let shapeRow) = arguments[2],
      case .container(let stridesRow) = arguments[3]
    else { throw error(row, name, "has an invalid offset, shape or strides") }

    var type = storage.type
    var place = 6
    if rebuild == .tensorV3 {
      guard arguments.count >= 7, case .dtype(let own)? = pickle.meaning(arguments[6]) else {
        throw error(row, name, "has no dtype")
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
      throw error(row, name, "exceeds its storage, or the maximum size of a file")
    }
    return add(type, range, layout, &table)
  }

  /// The tensor behind a persistent id.
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
    case .missing: throw error(nil, "is missing from the archive")
    case .storage(let type, _): return .omission(type, .bareStorage)
    case .tensor(let type, let bytes, let offset, let shape, let strides, let position):
      guard let layout = TensorTable.Layout(shape, strides, start: table.dimensions.count),
        let range = Self.range(offset, layout, type.byteCount, in: bytes)
      else { throw error(position, "exceeds its storage, or the maximum size of a file") }
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
