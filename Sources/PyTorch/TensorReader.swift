/// Makes tensors of the calls in a pickle, checking each number against the file.
struct TensorReader {
  private let pickle: Pickle
  /// Where the storage of each key lies in the file.
  private let storages: [[UInt8]: Range<UInt64>]

  /// More dimensions than any tensor has: PyTorch's own loops end at 64.
  private static let maximumRank = 1024

  /// What a call makes.
  enum Result {
    case tensor(StoredTensor)
    case omission(Omission)
  }

  init(_ pickle: Pickle, storages: [[UInt8]: Range<UInt64>]) {
    self.pickle = pickle
    self.storages = storages
  }

  /// The tensor that a call makes, under a name.
  func tensor(_ call: Pickle.Call, name: [UInt8]) throws(FormatError) -> Result {
    func error(_ text: String) -> FormatError {
      FormatError(at: pickle.offset + UInt64(call.position), .malformed(.tensor(name), text))
    }
    var rebuild = call.rebuild
    var arguments = pickle.containers[Int(call.arguments)].items
    if rebuild == .fromType {
      guard arguments.count >= 3, case .rebuild(let inner)? = pickle.meaning(arguments[0]),
        inner != .fromType,
        pickle.meaning(arguments[1]) == .tensorClass, let own = pickle.sequence(arguments[2])
      else { throw error("is made in an unusual way") }
      (rebuild, arguments) = (inner, own)
    }
    if case .unsupported(let kind) = rebuild {
      return .omission(Omission(name: name, type: type(of: arguments), reason: .kind(kind)))
    }
    guard arguments.count >= 4, case .storage(let row) = arguments[0] else {
      throw error("has no storage of its own")
    }
    let storage = pickle.storages[Int(row)]
    guard let offset = pickle.count(arguments[1]), let shape = counts(arguments[2]),
      let strides = counts(arguments[3]), shape.count == strides.count
    else { throw error("has a shape or strides that cannot be") }

    var type = storage.type
    // (storage, offset, size, stride, requires_grad, hooks, dtype, metadata); without a dtype up to version 2.
    var metadata = 6
    if rebuild == .tensorV3 {
      guard arguments.count >= 7, case .dtype(let own)? = pickle.meaning(arguments[6]) else {
        throw error("has no element type")
      }
      type = own
      metadata = 7
    }
    if arguments.count > metadata {
      for bit in ["conj", "neg"] {
        if case .bool(true)? = pickle.value(of: bit, in: arguments[metadata]) {
          return .omission(Omission(name: name, type: type, reason: .lazy))
        }
      }
    }

    guard let whole = storages[Array(pickle[storage.key])] else {
      throw error("has a storage that is not there")
    }
    let (start, isFar) = storage.start.multipliedReportingOverflow(by: storage.type.byteCount)
    let (size, isLarge) = storage.count.multipliedReportingOverflow(by: storage.type.byteCount)
    let available = whole.upperBound - whole.lowerBound
    guard !isFar, !isLarge, start <= available, size <= available - start else {
      throw error("has a storage of fewer bytes than it counts")
    }
    let view = whole.lowerBound + start..<whole.lowerBound + start + size
    guard let range = Self.range(offset, shape, strides, type.byteCount, in: view) else {
      throw error("reaches beyond its storage, or has more bytes than a file can")
    }
    return .tensor(StoredTensor(name: name, type: type, shape: shape, strides: strides, range: range))
  }

  /// The element type that the arguments of an unsupported call tell: their storage's, or the first one named.
  private func type(of arguments: [Pickle.Value]) -> ElementType? {
    for argument in arguments {
      if case .storage(let row) = argument { return pickle.storages[Int(row)].type }
      if case .dtype(let type)? = pickle.meaning(argument) { return type }
    }
    return nil
  }

  /// The numbers of a tuple, none negative; nil of anything else.
  private func counts(_ value: Pickle.Value) -> [UInt64]? {
    guard let items = pickle.sequence(value), items.count <= Self.maximumRank else { return nil }
    var counts: [UInt64] = []
    for item in items {
      guard let count = pickle.count(item) else { return nil }
      counts.append(count)
    }
    return counts
  }

  /// The bytes of the file that a tensor reaches; nil where they are not all in `storage`, or where its own
  /// size does not fit into 63 bits.
  private static func range(
    _ offset: UInt64, _ shape: [UInt64], _ strides: [UInt64], _ width: UInt64, in storage: Range<UInt64>
  ) -> Range<UInt64>? {
    if shape.contains(0) { return storage.lowerBound..<storage.lowerBound }
    var last = offset
    var size = width
    for (count, stride) in zip(shape, strides) {
      let (reach, isFar) = (count - 1).multipliedReportingOverflow(by: stride)
      let (sum, isFarther) = last.addingReportingOverflow(reach)
      let (product, isLarge) = size.multipliedReportingOverflow(by: count)
      guard !isFar, !isFarther, !isLarge, product <= UInt64(Int64.max) else { return nil }
      (last, size) = (sum, product)
    }
    let elements = (storage.upperBound - storage.lowerBound) / width
    guard last < elements else { return nil }
    return storage.lowerBound + offset * width..<storage.lowerBound + (last + 1) * width
  }
}
