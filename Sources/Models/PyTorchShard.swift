internal import PyTorch
package import Safetensors
internal import SystemPackage

extension PyTorchFile {
  /// The form of a file that begins with these bytes, as long as it is no safetensors file: the length of a
  /// header may look like an archive, but no header begins with NUL, as the first method of an archive that is
  /// not compressed does.
  static func form(of start: [UInt8], fileSize: UInt64) -> Form? {
    let isHeader = (try? HeaderPrefix.length(start: start, fileSize: fileSize)) != nil
    return isHeader && start.count > 8 && start[8] != 0 ? nil : form(of: start)
  }
}

/// A tensor that a source names and a mount does not show.
package struct OmittedTensor: Sendable {
  /// The name it would have.
  package let name: TensorName
  /// Why it is not shown, as a clause; safe to print.
  package let reason: String
}

extension Header {
  /// The header of a file of PyTorch: its tensors, and those that this format has no place for.
  static func pyTorch(_ file: PyTorchFile, _ path: FilePath) throws(ModelError) -> (Header, [OmittedTensor]) {
    var omitted = file.omissions.map { OmittedTensor($0) }
    var text: [UInt8] = []
    var dimensions: [UInt64] = []
    var records: [Record] = []
    for tensor in file.tensors {
      guard let dtype = DType(tensor.type) else {
        omitted.append(OmittedTensor(tensor, "is \(tensor.type.rawValue), which safetensors has no name for"))
        continue
      }
      var (shape, strides) = (tensor.shape, tensor.strides)
      if dtype == .f4, !unpack(&shape, &strides) {
        omitted.append(OmittedTensor(tensor, "holds pairs of elements that do not follow each other"))
        continue
      }
      // The numbers in a file's description are bounded by its size, at most 100,000,000.
      guard let nameStart = UInt32(exactly: text.count), let shapeStart = UInt32(exactly: dimensions.count)
      else {
        throw ModelError(.malformed, path, "its tensors' names and shapes are too long")
      }
      records.append(
        Record(
          nameStart: nameStart, nameCount: UInt32(tensor.name.count), shapeStart: shapeStart,
          shapeCount: UInt32(shape.count), keyOffset: 0, dtype: dtype, isStrided: !tensor.isContiguous,
          begin: tensor.range.lowerBound, end: tensor.range.upperBound))
      text += tensor.name
      dimensions += shape
      if !tensor.isContiguous { dimensions += strides }
    }
    records.sort { compareBytes($0.name(in: text), $1.name(in: text)) < 0 }
    for (left, right) in zip(records, records.dropFirst()) where left.name(in: text) == right.name(in: text) {
      throw ModelError(
        .malformed, path, "two tensors would be called \(PrintableText.quoted(left.name(in: text)))")
    }
    let header = Header(
      dataStart: 0, trailingBytes: file.trailingBytes, text: text, dimensions: dimensions, records: records,
      metadataRanges: [])
    return (header, omitted)
  }

  /// Counts elements in place of the pairs that PyTorch's float4_e2m1fn_x2 has in a byte; false where they do
  /// not come in a row. As in safetensors, the last dimension is the one that grows.
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

extension OmittedTensor {
  fileprivate init(_ tensor: StoredTensor, _ reason: String) {
    self.init(name: TensorName(utf8: tensor.name[...]), reason: reason)
  }

  fileprivate init(_ omission: Omission) {
    name = TensorName(utf8: omission.name[...])
    let type = omission.type.map { " of \($0.rawValue)" } ?? ""
    switch omission.reason {
    case .kind(let kind): reason = "is a \(kind) tensor" + type
    case .lazy: reason = "is a tensor\(type) whose elements are conjugated or negated when they are used"
    case .bareStorage: reason = "is a storage\(type) and no tensor"
    case .unnamed: reason = "is a tensor\(type) under a key that makes no name"
    }
  }
}

extension DType {
  /// What the format calls an element type of PyTorch; nil where it has no name for it.
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

/// An open file as the other library reads it.
struct FileSource: ByteSource {
  let file: SourceFile

  var size: UInt64 { file.size }

  func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try file.read(from: offset, count: count)
  }
}
