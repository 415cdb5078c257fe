internal import PyTorch
internal import Safetensors
internal import SystemPackage

/// Makes a header from the tensors of torch.save files, and lists those that safetensors does not support.
struct PyTorchHeader {
  private let path: FilePath
  private var text: [UInt8] = []
  private var dimensions: [UInt64] = []
  private var records: [Header.Record] = []
  private(set) var omitted: [OmittedTensor] = []
  /// Warnings about names; safe to print.
  private(set) var notes: [String] = []

  /// `path` is the file, for errors.
  init(_ path: FilePath) { self.path = path }

  /// The number of tensors so far.
  var count: Int { records.count }

  /// The header of the added tensors, in the order in which they were added.
  func header(trailingBytes: UInt64 = 0) -> Header {
    Header(
      dataStart: 0, trailingBytes: trailingBytes, text: text, dimensions: dimensions, records: records,
      metadataRanges: [])
  }

  /// Adds all tensors of a source that begins at byte `start` of the file, sorted by name.
  mutating func add(_ file: PyTorchFile, at start: UInt64 = 0) throws(ModelError) {
    omitted += OmittedTensor.all(of: file)
    var own: [Header.Record] = []
    own.reserveCapacity(file.tensors.count)
    // Where the shape of each layout begins in `dimensions`: tensors of one layout share it.
    var starts: [Int: UInt32] = [:]
    for tensor in file.tensors {
      if let record = try record(of: tensor, tensor.name, start, &starts) { own.append(record) }
    }
    own.sort { compareBytes($0.name(in: text), $1.name(in: text)) < 0 }
    guard let clashes = Header.renameClashes(&own, &text, dimensions) else { throw tooLong }
    notes += NameClash.notes(of: clashes)
    if records.isEmpty { records = own } else { records += own }
  }

  /// Adds one tensor of a source that begins at byte `start` of the file; false if safetensors does not support it.
  mutating func add(_ tensor: StoredTensor, named name: ArraySlice<UInt8>, at start: UInt64)
    throws(ModelError) -> Bool
  {
    var starts: [Int: UInt32] = [:]
    guard let record = try record(of: tensor, name, start, &starts) else { return false }
    records.append(record)
    return true
  }

  /// The name of a tensor, by its position.
  func name(at position: Int) -> ArraySlice<UInt8> { records[position].name(in: text) }

  /// Renames a tensor; the name must be UTF-8. Does not change the order of the tensors.
  mutating func rename(at position: Int, to name: ArraySlice<UInt8>) throws(ModelError) {
    guard let start = UInt32(exactly: text.count), let count = UInt32(exactly: name.count) else {
      throw tooLong
    }
    (records[position].nameStart, records[position].nameCount) = (start, count)
    text += name
  }

  /// Adds a tensor's name and shape, and returns its record; nil if the tensor is omitted.
  private mutating func record(
    of tensor: StoredTensor, _ name: ArraySlice<UInt8>, _ base: UInt64, _ starts: inout [Int: UInt32]
  ) throws(ModelError) -> Header.Record? {
    guard let dtype = DType(tensor.type) else {
      omit(name, "is \(tensor.type.rawValue), which safetensors does not support")
      return nil
    }
    // The numbers in a file's description are bounded by its size, at most 100,000,000.
    guard let nameStart = UInt32(exactly: text.count), let end = UInt32(exactly: dimensions.count) else {
      throw tooLong
    }
    var start = starts[tensor.layout]
    if dtype == .f4 {
      guard let unpacked = Self.unpacked(tensor) else {
        omit(name, "has packed F4 elements that are not contiguous (save its view(torch.uint8))")
        return nil
      }
      start = end
      dimensions += unpacked
    } else if start == nil {
      starts[tensor.layout] = end
      dimensions += tensor.shape
      if !tensor.isContiguous { dimensions += tensor.strides }
    }
    text += name
    // Cannot overflow: the source is a part of the file.
    return Header.Record(
      nameStart: nameStart, nameCount: UInt32(name.count), shapeStart: start ?? end,
      shapeCount: UInt32(tensor.shape.count), keyOffset: 0, dtype: dtype, isStrided: !tensor.isContiguous,
      begin: base + tensor.range.lowerBound, end: base + tensor.range.upperBound)
  }

  private mutating func omit(_ name: ArraySlice<UInt8>, _ reason: String) {
    omitted.append(OmittedTensor(name: TensorName(utf8: name), reason: reason))
  }

  private var tooLong: ModelError {
    ModelError(.malformed, path, "its tensors' names and shapes are too long; use shorter names")
  }

  /// Sorts the tensors by name, and returns the former position of each.
  mutating func sort() -> [Int] {
    let order = records.indices.sorted {
      compareBytes(records[$0].name(in: text), records[$1].name(in: text)) < 0
    }
    records = order.map { records[$0] }
    return order
  }

  /// The shape in elements of a tensor of float4_e2m1fn_x2, whose shape in PyTorch counts pairs (bytes), and then
  /// its strides if it is not contiguous. The last dimension doubles, as in safetensors. Nil if the pairs of the
  /// last dimension are not contiguous, or on overflow.
  private static func unpacked(_ tensor: StoredTensor) -> [UInt64]? {
    var (shape, strides) = (Array(tensor.shape), Array(tensor.strides))
    return unpack(&shape, &strides) ? shape + (tensor.isContiguous ? [] : strides) : nil
  }

  private static func unpack(_ shape: inout [UInt64], _ strides: inout [UInt64]) -> Bool {
    guard let last = shape.indices.last, strides[last] == 1 || shape[last] <= 1 else { return false }
    for index in shape.indices.dropLast() {
      let (stride, overflow) = strides[index].multipliedReportingOverflow(by: 2)
      if overflow { return false }
      strides[index] = stride
    }
    let (count, overflow) = shape[last].multipliedReportingOverflow(by: 2)
    shape[last] = count
    strides[last] = 1
    return !overflow
  }
}

extension DType {
  /// The format's name for an element type of PyTorch, or nil.
  init?(_ type: ElementType) {
    switch type {
    case .uint8: self = .u8
    case .int8: self = .i8
    case .bool: self = .bool
    case .uint16: self = .u16
    case .int16: self = .i16
    case .uint32: self = .u32
    case .int32: self = .i32
    case .uint64: self = .u64
    case .int64: self = .i64
    case .float16: self = .f16
    case .bfloat16: self = .bf16
    case .float32: self = .f32
    case .float64: self = .f64
    case .complex64: self = .c64
    case .float8_e4m3fn: self = .f8e4m3
    case .float8_e5m2: self = .f8e5m2
    case .float8_e4m3fnuz: self = .f8e4m3fnuz
    case .float8_e5m2fnuz: self = .f8e5m2fnuz
    case .float8_e8m0fnu: self = .f8e8m0
    case .float4_e2m1fn_x2: self = .f4
    default: return nil
    }
  }
}
