import Safetensors

@testable import TensorFS

/// A NumPy file: its elements are what follows the header.
enum NPYFuzzer: Fuzzer {
  static var seeds: [[UInt8]] {
    [("<f4", "(2, 3)", 24), ("|b1", "(4,)", 4), ("<c8", "()", 8), (">i2", "(0, 7)", 0)].map {
      type, shape, count in
      let text = "{'descr': '\(type)', 'fortran_order': False, 'shape': \(shape), }\n"
      let start = [0x93] + Array("NUMPY\u{1}\0".utf8) + [UInt8(text.utf8.count), 0]
      return start + Array(text.utf8) + Array(repeating: 0, count: count)
    }
  }

  static func read(_ bytes: [UInt8]) {
    let array = try? NPYArray(size: UInt64(bytes.count)) { offset, count in
      require(Int(offset) + count <= bytes.count, "it reads beyond the end")
      return Array(bytes[Int(offset)..<Int(offset) + count])
    }
    guard let array else { return }
    require(array.dataRange.upperBound == UInt64(bytes.count), "the elements do not end with the file")
    require(
      array.dtype.byteCount(of: array.shape[...]) == UInt64(array.dataRange.count), "it has another size")
  }
}
