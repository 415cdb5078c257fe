internal import PyTorch
internal import Safetensors
internal import SystemPackage

extension PyTorchFile {
  /// The form of a file that begins with `start`; nil for a safetensors file, whose header length may look
  /// like an archive. The two differ: no header begins with NUL, and the compression method of an uncompressed
  /// archive does.
  static func form(of start: [UInt8], in file: SourceFile, _ path: FilePath) throws(ModelError) -> Form? {
    let form = form(of: start)
    guard form == .archive, start.count > 8, start[8] != 0,
      (try? HeaderPrefix.length(start: start, fileSize: file.size)) != nil
    else { return form }
    // An archive is identified by the record at its end: APPNOTE 4.3.16.
    let count = min(file.size, 65_535 + 22)
    let end = try ModelError.translating("read", path) {
      try file.read(from: file.size - count, count: Int(count))
    }
    let record = Array("PK\u{5}\u{6}".utf8)
    if end.indices.dropLast(21).contains(where: {
      end[$0] == record[0] && end[$0..<$0 + 4].elementsEqual(record)
    }) {
      throw ModelError(
        .malformed, path,
        "it can be read as safetensors and as an archive of PyTorch, which would be two models: refused; do not load it"
      )
    }
    return nil
  }
}

extension Header {
  /// The header of a file of PyTorch: its tensors, and those that this format has no place for; and what a person should
  /// know, safe to print.
  static func pyTorch(_ file: PyTorchFile, _ path: FilePath) throws(ModelError)
    -> (Header, [OmittedTensor], notes: [String])
  {
    var omitted = OmittedTensor.list(of: file)
    var text: [UInt8] = []
    var dimensions: [UInt64] = []
    // The starts of shared shapes.
    var starts: [Int: UInt32] = [:]
    var records: [Record] = []
    records.reserveCapacity(file.tensors.count)
    for tensor in file.tensors {
      guard let dtype = DType(tensor.type) else {
        omitted.append(tensor.name, "is \(tensor.type.rawValue), which safetensors does not support")
        continue
      }
      // The numbers in a file's description are bounded by its size, at most 100,000,000.
      guard let nameStart = UInt32(exactly: text.count), let end = UInt32(exactly: dimensions.count) else {
        throw ModelError(.malformed, path, "its tensors' names and shapes are too long")
      }
      var start = starts[tensor.layout]
      if dtype == .f4 {
        guard let unpacked = unpacked(tensor) else {
          omitted.append(tensor.name, "holds pairs of elements that do not follow each other")
          continue
        }
        (start, dimensions) = (end, dimensions + unpacked)
      } else if start == nil {
        starts[tensor.layout] = end
        dimensions += tensor.shape
        if !tensor.isContiguous { dimensions += tensor.strides }
      }
      records.append(
        Record(
          nameStart: nameStart, nameCount: UInt32(tensor.name.count), shapeStart: start ?? end,
          shapeCount: UInt32(tensor.shape.count), keyOffset: 0, dtype: dtype, isStrided: !tensor.isContiguous,
          begin: tensor.range.lowerBound, end: tensor.range.upperBound))
      text += tensor.name
    }
    records.sort { compareBytes($0.name(in: text), $1.name(in: text)) < 0 }
    guard let clashes = renameClashes(&records, &text, dimensions) else {
      throw ModelError(.malformed, path, "its tensors' names and shapes are too long")
    }
    let header = Header(
      dataStart: 0, trailingBytes: file.trailingBytes, text: text, dimensions: dimensions, records: records,
      metadataRanges: [])
    return (header, omitted.tensors, NameClash.notes(of: clashes))
  }

  /// The shape, and the strides where there are any, of elements in place of the pairs that PyTorch's
  /// float4_e2m1fn_x2 has in a byte; nil if pairs do not come in a row. As in safetensors, the last
  /// dimension is the one that grows.
  static func unpacked(_ tensor: StoredTensor) -> [UInt64]? {
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

/// An open file as a source of the PyTorch library.
struct FileSource: ByteSource {
  let file: SourceFile

  var size: UInt64 { file.size }

  func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try file.read(from: offset, count: count)
  }

  func announce(_ ranges: [Range<UInt64>]) { file.announce(ranges) }
}
