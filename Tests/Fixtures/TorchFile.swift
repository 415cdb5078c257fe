/// A torch.save file in memory: an object, and the storages of its tensors.
///
///     var file = TorchFile()
///     let weight = file.tensor("Float", [2, 3])
///     file.object = .ordered(["weight": weight])
///     file.archive.bytes
public struct TorchFile: Sendable {
  /// A storage.
  public struct Storage: Sendable {
    /// The storage class without its suffix.
    public var type: String
    /// The number of elements.
    public var count: Int
    /// The contents.
    public var data: [UInt8]
  }

  /// The object in the pickle.
  public var object = PickledValue.none
  /// The storages. The key of a storage is its position.
  public private(set) var storages: [Storage] = []
  /// The archive's top-level directory.
  public var directory = "archive"
  /// The contents of `byteorder`, and the byte order in files of the older form.
  public var byteOrder = "little"
  /// True for the form before PyTorch 1.6; false for an archive.
  public var isLegacy = false

  /// The size of an element by storage class, without the suffix.
  public static let widths: KeyValuePairs<String, Int> = [
    "Byte": 1, "Char": 1, "Bool": 1, "Short": 2, "Half": 2, "BFloat16": 2, "Int": 4, "Float": 4, "Long": 8,
    "Double": 8, "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "Untyped": 1,
  ]

  /// An empty file.
  public init(isLegacy: Bool = false) { self.isLegacy = isLegacy }

  /// A file of one object.
  public init(_ object: PickledValue) { self.object = object }

  // MARK: - Storages

  /// Adds a storage with pseudo-random contents, and returns its number.
  public mutating func addStorage(_ type: String, count: Int, data: [UInt8]? = nil) -> Int {
    let width = Self.widths.first { $0.key == type }?.value ?? 1
    var generator = SeededGenerator(seed: UInt64(storages.count + 1) &* 0x1234_5678_9ABC)
    let random = generator.bytes(count * width)
    storages.append(
      Storage(type: type, count: count, data: data ?? (type == "Bool" ? random.map { $0 & 1 } : random)))
    return storages.count - 1
  }

  /// The persistent id of a storage.
  public func reference(_ storage: Int) -> PickledValue {
    let (type, count) = (storages[storage].type, storages[storage].count)
    let module = type == "Untyped" ? "torch.storage" : "torch"
    let id: [PickledValue] = [
      .string("storage"), .global(module, type + "Storage"), .string(String(storage)), .string("cpu"),
      .int(count),
    ]
    return .persistent(.tuple(id + (isLegacy ? [.none] : [])))
  }

  // MARK: - Tensors

  /// Row-major strides.
  public static func strides(_ shape: [Int]) -> [Int] {
    shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
  }

  /// A row-major tensor with a storage of its own.
  public mutating func tensor(_ type: String, _ shape: [Int], data: [UInt8]? = nil) -> PickledValue {
    let storage = addStorage(type, count: shape.reduce(1, *), data: data)
    return view(of: storage, shape)
  }

  /// A tensor of elements of a storage.
  public func view(of storage: Int, offset: Int = 0, _ shape: [Int], strides: [Int]? = nil) -> PickledValue {
    .call(
      .global("torch._utils", "_rebuild_tensor_v2"),
      [
        reference(storage), .int(offset), .tuple(shape.map { .int($0) }),
        .tuple((strides ?? Self.strides(shape)).map { .int($0) }), .bool(false),
        .call(.global("collections", "OrderedDict"), []),
      ])
  }

  /// A tensor of a type without a storage class, in a storage of bytes.
  public func view(
    of storage: Int, as dtype: String, offset: Int = 0, _ shape: [Int], strides: [Int]? = nil
  ) -> PickledValue {
    .call(
      .global("torch._utils", "_rebuild_tensor_v3"),
      [
        reference(storage), .int(offset), .tuple(shape.map { .int($0) }),
        .tuple((strides ?? Self.strides(shape)).map { .int($0) }), .bool(false),
        .call(.global("collections", "OrderedDict"), []), .global("torch", dtype),
      ])
  }

  /// The elements of a tensor in row-major order, gathered one by one.
  public func elements(of storage: Int, offset: Int = 0, _ shape: [Int], strides: [Int], width: Int)
    -> [UInt8]
  {
    var bytes: [UInt8] = []
    var index = [Int](repeating: 0, count: shape.count)
    for _ in 0..<shape.reduce(1, *) {
      let element = offset + zip(index, strides).reduce(0) { $0 + $1.0 * $1.1 }
      bytes += storages[storage].data[element * width..<(element + 1) * width]
      for axis in shape.indices.reversed() {
        index[axis] += 1
        if index[axis] < shape[axis] { break }
        index[axis] = 0
      }
    }
    return bytes
  }

  // MARK: - Files

  /// The file as an archive.
  public var archive: ZipFile {
    var entries = [ZipFile.Entry("\(directory)/data.pkl", object.pickle)]
    entries.append(.init("\(directory)/byteorder", byteOrder.utf8))
    for (key, storage) in storages.enumerated() {
      entries.append(.init("\(directory)/data/\(key)", storage.data))
    }
    entries.append(.init("\(directory)/version", "3\n".utf8))
    return ZipFile(entries)
  }

  /// The file in the form before PyTorch 1.6.
  public var legacyBytes: [UInt8] {
    let system = PickledValue.dictionary([
      "protocol_version": .int(1001), "little_endian": .bool(byteOrder == "little"),
      "type_sizes": .dictionary(["short": .int(2), "int": .int(4), "long": .int(4)]),
    ])
    var file: [UInt8] = [0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E]
    file += PickledValue.int(1001).pickle + system.pickle + object.pickle
    file += PickledValue.list(storages.indices.map { .string(String($0)) }).pickle
    for storage in storages { file += Fixtures.bytes(Int64(storage.count)) + storage.data }
    return file
  }

  /// The file in its form.
  public var bytes: [UInt8] { isLegacy ? legacyBytes : archive.bytes }

  /// The offset of a storage's bytes in ``bytes``.
  public func offset(of storage: Int) -> Int {
    if !isLegacy { return archive.offset(of: "\(directory)/data/\(storage)") }
    return bytes.count - storages[storage...].reduce(0) { $0 + 8 + $1.data.count } + 8
  }
}
