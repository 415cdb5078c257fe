import Fixtures
import Testing

@testable import Safetensors

@Suite struct DTypeTests {
  @Test("Every dtype of the format has the width the format gives it")
  func widths() {
    #expect(DType.allCases.count == 22)
    #expect(DType.allCases.map(\.name) == TensorData.bitSizes.map(\.key))
    #expect(DType.allCases.map { Int($0.bitSize) } == TensorData.bitSizes.map(\.value))
  }
}
