import Fixtures
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Extended attributes") struct ExtendedAttributesTests {
  @Test("The text of a shape ends soon after it exceeds the maximum size of an attribute")
  func longShape() throws {
    func value(rank: Int) throws -> [UInt8] {
      let sample = try SampleModel(SafetensorsFile(.init("t", "U8", Array(repeating: 1, count: rank))))
      let shard = try sample.model.shards[0]
      return try #require(
        ExtendedAttributes.value(of: Array("user.safetensors.shape".utf8), shard.header[0], shard))
    }
    #expect(try value(rank: 3) == Array("[1, 1, 1]".utf8))
    #expect(try value(rank: 21_845).count == 65_535)
    for rank in [22_000, 1_000_000] { #expect(65_537..<65_600 ~= (try value(rank: rank).count), "\(rank)") }
  }
}
