import Fixtures
import Safetensors
import Testing

@Suite("Dtypes") struct DTypeTests {
  @Test("The 22 dtypes of the format are known by their names and widths")
  func widths() {
    #expect(DType.allCases.map(\.name) == TensorData.bitSizes.map(\.key))
    #expect(DType.allCases.map { Int($0.bitSize) } == TensorData.bitSizes.map(\.value))
    #expect(DType.allCases.count == 22)
  }

  @Test("A tensor of each dtype has the size of its shape", arguments: DType.allCases)
  func sizes(_ dtype: DType) throws {
    // Four elements of any width are whole bytes.
    let shapes = [[4], [2, 2], [3, 4, 5], [0], [4, 0, 7], [1, 1, 4, 1]]
    let tensors = shapes.enumerated().map { SafetensorsFile.Tensor("\($0)", dtype.name, $1) }
    let header = try readHeader(SafetensorsFile(tensors, dataOrder: [5, 2, 0, 4, 1, 3]).bytes)
    #expect(header.count == shapes.count)
    for (index, shape) in shapes.enumerated() {
      let tensor = header[index]
      #expect(tensor.dtype == dtype)
      #expect(tensor.shape.elementsEqual(shape.map(UInt64.init)))
      #expect(tensor.byteCount == UInt64(shape.reduce(1, *)) * dtype.bitSize / 8)
    }
  }

  @Test("A scalar has one element, unless that is less than a byte", arguments: DType.allCases)
  func scalars(_ dtype: DType) throws {
    let bytes = SafetensorsFile(.init("s", dtype.name, [])).bytes
    if dtype.bitSize < 8 {
      let error = #expect(throws: HeaderError.self) { try readHeader(bytes) }
      #expect(error == .misalignedSlice(offset: 9, tensor: "s", bits: dtype.bitSize))
    } else {
      let header = try readHeader(bytes)
      #expect(header[0].shape.isEmpty)
      #expect(header[0].byteCount == dtype.bitSize / 8)
    }
  }

  @Test("A dtype's name matches by exact case only", arguments: DType.allCases)
  func exactCase(_ dtype: DType) {
    for name in [dtype.name.lowercased(), dtype.name + " ", " " + dtype.name, String(dtype.name.dropLast())] {
      let header = #"{"a":{"dtype":"\#(name)","shape":[0],"data_offsets":[0,0]}}"#
      let error = #expect(throws: HeaderError.self) { try readHeader(SafetensorsFile(header: header).bytes) }
      #expect(
        error
          == .invalidHeaderDeserialization(
            offset: 22, problem: "'\(name)' is not a safetensors dtype", tensor: "a"))
    }
  }
}
