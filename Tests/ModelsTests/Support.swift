import SystemPackage

@testable import Models
import Safetensors

extension TensorName: ExpressibleByStringLiteral {
  init(stringLiteral value: String) { self.init(value) }
}

extension Model {
  /// The tensors' names, in the order of the model.
  var contents: [String] { places.map { String(decoding: name(at: $0).utf8, as: UTF8.self) } }
}

extension SourceFile {
  /// A copy of bytes of the mapping, or nil.
  func mappedElements(_ range: Range<UInt64>) -> [UInt8]? {
    guard let bytes = mappedBytes(range) else { return nil }
    return bytes.byteOffsets.map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
  }
}
