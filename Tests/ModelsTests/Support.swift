import SystemPackage

@testable import Models
@testable import Safetensors

extension TensorName: ExpressibleByStringLiteral {
  init(stringLiteral value: String) { self.init(value) }
}

extension Model {
  /// The tensors' names, in the order of the model.
  var contents: [String] { places.map { String(decoding: name(at: $0).utf8, as: UTF8.self) } }
}

extension RawSpan {
  /// The bytes, copied.
  var elements: [UInt8] { byteOffsets.map { unsafe unsafeLoad(fromByteOffset: $0, as: UInt8.self) } }
}
