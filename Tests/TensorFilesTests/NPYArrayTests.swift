import Fixtures
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Reading NumPy files") struct NPYArrayTests {
  private func file(_ dictionary: String, version: UInt8 = 1, data: Int = 0) -> [UInt8] {
    let length = dictionary.utf8.count
    let lengthBytes = (0..<(version == 1 ? 2 : 4)).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
    return [0x93] + "NUMPY".utf8 + [version, 0] + lengthBytes + dictionary.utf8
      + Array(repeating: 1, count: data)
  }

  private func array(_ bytes: [UInt8]) throws -> NPYArray {
    try NPYArray(size: UInt64(bytes.count)) { offset, count in
      Array(bytes[Int(offset)..<Int(offset) + count])
    }
  }

  private func problem(_ bytes: [UInt8]) -> String {
    do {
      _ = try array(bytes)
      return "none"
    } catch {
      return (error as? NPYError)?.problem ?? "\(error)"
    }
  }

  @Test("Files of the .npy view can be read back", arguments: DType.allCases)
  func view(dtype: DType) throws {
    guard let name = dtype.numPyName else { return }
    for shape in [[], [0], [3], [2, 3], [1, 0, 5]] as [[UInt64]] {
      let count = Int(shape.reduce(dtype.bitSize / 8, *))
      let bytes = NPYHeader.bytes(name, shape[...]) + Array(repeating: 0, count: count)
      let read = try array(bytes)
      #expect(read.dtype == dtype && read.shape == shape)
      #expect(read.dataRange == UInt64(bytes.count - count)..<UInt64(bytes.count))
    }
  }

  @Test("Every format version, and every way in which Python writes the dictionary, is read")
  func spellings() throws {
    for version in 1...3 as ClosedRange<UInt8> {
      for text in [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }   \n",
        #"{"shape":(2,),"fortran_order":False,"descr":"<f4"}"#,
        "{'descr':\t'<f4' , 'shape' : ( 2 , ) , 'fortran_order' : True}\n",
      ] {
        let read = try array(file(text, version: version, data: 8))
        #expect(read.dtype == .f32 && read.shape == [2])
      }
    }
    #expect(
      try array(file("{'descr': '<u1', 'fortran_order': False, 'shape': (1, 1)}", data: 1)).dtype == .u8)
  }

  @Test("An array that cannot be a tensor is refused, and the message says why")
  func refusals() {
    func dictionary(_ type: String, order: String = "False", shape: String = "(2,)") -> [UInt8] {
      file("{'descr': \(type), 'fortran_order': \(order), 'shape': \(shape), }", data: 8)
    }
    #expect(problem(dictionary("'<f4'")) == "none")
    #expect(problem(dictionary("'>f4'")).contains("big-endian ('>f4'); convert it: array.astype('<f4')"))
    // An advice must not contain characters from the file; only a quoted text may.
    #expect(problem(dictionary("'>\u{1B}[2J'")) == #"its elements are big-endian ('>\u{1b}[2J')"#)
    #expect(problem(dictionary("'|O'")).contains("Python objects"))
    #expect(problem(dictionary("[('a', '<f4')]")).contains("records"))
    #expect(problem(dictionary("'<c16'")).contains("no dtype for its elements, '<c16'"))
    #expect(problem(dictionary("'<V2'")).contains("no dtype"))
    #expect(problem(dictionary("'<f4'", order: "True", shape: "(1, 2)")) == "none")
    #expect(problem(dictionary("'<f4'", shape: "(3,)")).contains("8 bytes of elements, but 12"))
    #expect(problem(dictionary("'<f4'", shape: "(1,)")).contains("8 bytes of elements, but 4"))
    #expect(problem(dictionary("'<f4'", shape: "(9223372036854775808, 4)")).contains("64 bits"))
    #expect(problem(file("{}", version: 9)).contains("version 9.0"))
    #expect(problem(Array("PK".utf8)).contains("not a NumPy array"))
    #expect(problem([]).contains("not a NumPy array"))
  }

  @Test(
    "A malformed dictionary is refused with the byte",
    arguments: [
      "", "{", "{}", "[]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
      "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (02,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': [2]}",
      "{'descr': '<f\\x34', 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<f4, 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
    ])
  func malformed(text: String) {
    #expect(problem(file(text, data: 8)).contains("invalid NumPy header at byte"))
  }

  @Test("A truncated file is refused")
  func truncated() {
    let whole = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", data: 8)
    for count in 0..<whole.count { #expect(problem(Array(whole[..<count])) != "none") }
    // Some lengths lead past the end of the file, and some are larger than any file.
    #expect(problem(Array(whole[..<8]) + [255, 255] + whole[10...]).contains("truncated"))
    #expect(
      problem([0x93] + "NUMPY".utf8 + [2, 0, 255, 255, 255, 255] + Array(repeating: 0, count: 90)).contains(
        "limit"))
  }
}
