import Fixtures

@testable import Models
@testable import Safetensors
@testable import TensorFiles

/// The reader of NumPy files, and the writer with every file that the reader accepts.
enum NPYFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    let written = DType.allCases.compactMap { dtype -> [UInt8]? in
      guard let name = dtype.numPyName else { return nil }
      return NPYHeader.bytes(name, [2, 3]) + [UInt8](repeating: 1, count: Int(6 * dtype.bitSize / 8))
    }
    let texts = [
      "{'descr': '<f4', 'fortran_order': False, 'shape': (), }   \n",
      #"{"shape":(2,),"fortran_order":False,"descr":"<f4"}"#, "{'descr':\t'<f4' , 'shape' : ( 2 , ) }",
      "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3)}", "{'descr': '|O', 'shape': (0,)}",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
    ]
    return written
      + texts.flatMap { text in
        (1...3 as ClosedRange<UInt8>).map { version in
          let count = text.utf8.count
          let length = (0..<(version == 1 ? 2 : 4)).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
          return [0x93] + "NUMPY".utf8 + [version, 0] + length + text.utf8 + [UInt8](repeating: 1, count: 8)
        }
      }
  }

  static var words: [String] {
    ["'descr': ", "'fortran_order': ", "'shape': (", "True", "False"]
      + DType.allCases.compactMap { dtype in dtype.numPyName.map { "'\($0)'" } }
  }

  static func test(_ input: [UInt8]) {
    guard let array = read(input) else { return }
    require(array.dataRange.upperBound == UInt64(input.count), "an array does not end with its file")
    require(
      array.dtype.byteCount(of: array.shape[...]) == UInt64(array.dataRange.count),
      "an array has another size")
    guard let name = array.dtype.numPyName else { fatalError("an array has no type of NumPy's") }
    let written = NPYHeader.bytes(name, array.shape[...]) + input[Int(array.dataRange.lowerBound)...]
    guard let again = read(written) else { fatalError("an array that was written is refused") }
    require(
      again.dtype == array.dtype && again.shape == array.shape
        && again.dataRange.count == array.dataRange.count,
      "an array is not read as it was written")
  }

  private static func read(_ file: [UInt8]) -> NPYArray? {
    do {
      return try NPYArray(size: UInt64(file.count)) { offset, count in
        require(offset <= UInt64(file.count) && count <= file.count - Int(offset), "it reads past the end")
        return Array(file[Int(offset)..<Int(offset) + count])
      }
    } catch {
      guard let error = error as? NPYError else { fatalError("\(error)") }
      requirePrintable(error.problem)
      return nil
    }
  }
}
