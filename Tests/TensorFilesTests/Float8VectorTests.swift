import Fixtures
import Safetensors
import SystemPackage
import Testing

@testable import Models
@testable import TensorFiles

@Suite("FP8 with vector instructions") struct Float8VectorTests {
  /// Scales from the smallest subnormal to the largest number. Some give products that overflow, and some that are subnormal.
  private static let scales: [Float] =
    [1, 0.1, -3.7, 3.4028235e38, 1.3e36, -2.7e36, 1e30, 65504, 0.007874016]
    + [1, 0x8000_1234, 0x7F_FFFF, 0x80_0000, 0x7B7F_FFFF, 0x7B80_0000].map { Float(bitPattern: $0) }

  @Test("Every code times any scale equals the result of the table", arguments: [DType.f8e4m3, .f8e5m2])
  func same(_ dtype: DType) throws {
    let table = CodeTable.table(
      of: QuantizedCodes(
        view: try view(dtype), rowBytes: 1, width: 8, packing: .stream, values: .float(dtype)))
    let codes = (0..<256).map { UInt8($0) } + [0x7E]
    for scale in Self.scales {
      let expected = codes.map { code in
        // A double holds the exact product.
        Float(Double(table.values[Int(code)]) * Double(scale))
      }
      for vectors in [nil, table.float8] {
        var found = [Float](repeating: 0, count: codes.count)
        unsafe found.withUnsafeMutableBytes { target in
          unsafe codes.withUnsafeBufferPointer { codes in
            unsafe table.values.withUnsafeBufferPointer { values in
              guard let target = target.baseAddress, let codes = codes.baseAddress,
                let values = values.baseAddress
              else { return }
              unsafe DequantizationKernels.bytes(
                codes, values, vectors, scale: scale, zero: 0, count: 257, into: target)
            }
          }
        }
        let wrong = codes.indices.first { index in
          expected[index].isNaN
            ? found[index].bitPattern != 0x7FC0_0000 : found[index].bitPattern != expected[index].bitPattern
        }
        #expect(
          wrong == nil, "\(scale), code \(wrong ?? 0), \(vectors == nil ? "by the table" : "by vectors")")
      }
    }
  }

  /// A view of a tensor of one element.
  private func view(_ dtype: DType) throws -> TensorView {
    let directory = try TemporaryDirectory()
    let path = try directory.write("m.safetensors", SafetensorsFile(.init("w", dtype.name, [1])))
    let model = try #require(try ModelCollection(opening: [path]).components.first).model
    return try #require(
      TensorView(model.tensor(at: model.places[0]), of: model.shard(at: model.places[0])))
  }
}
