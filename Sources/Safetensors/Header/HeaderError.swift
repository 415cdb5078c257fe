/// Why a file is not a valid safetensors file. Offsets are bytes from the start of the file.
///
/// The cases are the reference's, in the order in which it checks, and ``referenceName`` is its name for each;
/// those without one are this project's own (stricter) rules.
package enum HeaderError: Error, Equatable {
  /// The file is shorter than the 8 bytes of the header's length.
  case headerTooSmall(fileSize: UInt64)
  /// The file has another format.
  case foreignFormat(ForeignFormat)
  /// The header claims to be longer than 100,000,000 bytes.
  case headerTooLarge(length: UInt64)
  /// The header reaches past the end of the file.
  case invalidHeaderLength(length: UInt64, fileSize: UInt64)
  /// The header is not UTF-8.
  case invalidHeader(offset: UInt64)
  /// The header is not JSON, or not the JSON that the format requires.
  case invalidHeaderDeserialization(offset: UInt64, problem: String, tensor: TensorName?)
  /// Two tensors have the same name, however spelled. The reference keeps the last of them.
  case duplicateTensor(offset: UInt64, tensor: TensorName)
  /// Two entries of `__metadata__` have the same key. The reference keeps the last of them.
  case duplicateMetadataKey(offset: UInt64, key: TensorName)
  /// A tensor does not begin at the end of the previous one, or ends before it begins.
  case invalidOffset(offset: UInt64, tensor: TensorName, begin: UInt64, end: UInt64, expected: UInt64)
  /// The number of a tensor's elements or bits does not fit in 64 bits.
  case validationOverflow(offset: UInt64, tensor: TensorName)
  /// A tensor of sub-byte elements does not end on a byte.
  case misalignedSlice(offset: UInt64, tensor: TensorName, bits: UInt64)
  /// A tensor's shape and dtype give another size than its offsets.
  case tensorInvalidInfo(offset: UInt64, tensor: TensorName, declared: UInt64, computed: UInt64)
  /// The file does not end at the end of its last tensor. `expected` is nil if it does not fit in 64 bits.
  case metadataIncompleteBuffer(expected: UInt64?, fileSize: UInt64)

  /// The reference package's name for this error, or nil if the reference accepts the file.
  package var referenceName: String? {
    switch self {
    case .headerTooSmall: "HeaderTooSmall"
    case .headerTooLarge, .foreignFormat: "HeaderTooLarge"
    case .invalidHeaderLength: "InvalidHeaderLength"
    case .invalidHeader: "InvalidHeader"
    case .invalidHeaderDeserialization: "InvalidHeaderDeserialization"
    case .duplicateTensor, .duplicateMetadataKey: nil
    case .invalidOffset: "InvalidOffset"
    case .validationOverflow: "ValidationOverflow"
    case .misalignedSlice: "MisalignedSlice"
    case .tensorInvalidInfo: "TensorInvalidInfo"
    case .metadataIncompleteBuffer: "MetadataIncompleteBuffer"
    }
  }
}

extension HeaderError: CustomStringConvertible {
  /// One clause for a message: what is wrong, where, and what to do. Safe to print.
  package var description: String {
    switch self {
    case .headerTooSmall(let fileSize):
      return
        "not a safetensors file: it has \(PrintableText.counted(fileSize, "byte")), and the length of the header alone takes 8"
    case .foreignFormat(let format):
      return format.description
    case .headerTooLarge(let length):
      return
        "not a safetensors file: its first 8 bytes give a header length of \(length) bytes; the limit is "
        + "\(HeaderPrefix.maximumLength)"
    case .invalidHeaderLength(let length, let fileSize):
      let missing = length + HeaderPrefix.size - fileSize
      return "truncated by at least \(PrintableText.counted(missing, "byte")): the header ends at byte "
        + "\(length + HeaderPrefix.size), the file at byte \(fileSize); download it again"
    case .invalidHeader(let offset):
      return "invalid UTF-8 in the header at byte \(offset)"
    case .invalidHeaderDeserialization(let offset, let problem, let tensor):
      let place = tensor.map { " in tensor \($0)" } ?? ""
      return "invalid header at byte \(offset)\(place): \(problem)"
    case .duplicateTensor(let offset, let tensor):
      return "duplicate tensor \(tensor) (second entry at byte \(offset))"
    case .duplicateMetadataKey(let offset, let key):
      return "duplicate key \(key) in __metadata__ (second entry at byte \(offset))"
    case .invalidOffset(let offset, let tensor, let begin, let end, let expected):
      if end < begin {
        return
          "tensor \(tensor) (header byte \(offset)) ends at data byte \(end), before it begins at \(begin)"
      }
      let what = begin < expected ? "overlaps the previous tensor" : "leaves a gap after the previous tensor"
      return "tensor \(tensor) (header byte \(offset)) \(what): it begins at data byte \(begin), "
        + "not at \(expected)"
    case .validationOverflow(let offset, let tensor):
      return
        "tensor \(tensor) (header byte \(offset)) has a shape whose number of elements or bits does not fit in 64 bits"
    case .misalignedSlice(let offset, let tensor, let bits):
      return "tensor \(tensor) (header byte \(offset)) has \(bits) bits, which is not a whole number of bytes"
    case .tensorInvalidInfo(let offset, let tensor, let declared, let computed):
      return
        "tensor \(tensor) (header byte \(offset)) has \(PrintableText.counted(declared, "byte")) by its data_offsets, but "
        + "\(computed) by its dtype and shape"
    case .metadataIncompleteBuffer(let expected, let fileSize):
      guard let expected else { return "truncated: its tensors end beyond 2^64 bytes" }
      if expected > fileSize {
        return
          "truncated by \(PrintableText.counted(expected - fileSize, "byte")): the last tensor ends at byte \(expected), "
          + "the file at byte \(fileSize); download it again"
      }
      return
        "\(PrintableText.counted(fileSize - expected, "unexpected byte")) after the last tensor, which ends at byte \(expected) of "
        + "\(fileSize); use --lenient to ignore them"
    }
  }
}
