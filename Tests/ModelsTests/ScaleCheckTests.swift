import Fixtures
import Models
import SystemPackage
import Testing

/// A scale that no quantiser writes.
private enum Fault: String, CaseIterable {
  case nan = "NaN"
  case infinite, zero = "0"

  /// The bytes of the scale in a type; nil if the type has no such value.
  func bits(_ dtype: String) -> [UInt8]? {
    switch (self, dtype) {
    case (.nan, "F32"): [0, 0, 0xC0, 0xFF]
    case (.nan, "BF16"): [0xC0, 0x7F]
    case (.nan, "F16"): [0, 0x7E]
    case (.nan, "F8_E4M3"): [0xFF]
    case (.nan, "U8"), (.nan, "F8_E8M0"): [0xFF]
    case (.infinite, "F32"): [0, 0, 0x80, 0xFF]
    case (.infinite, "BF16"): [0x80, 0x7F]
    case (.infinite, "F16"): [0, 0x7C]
    case (.zero, "F32"): [0, 0, 0, 0x80]
    case (.zero, "BF16"), (.zero, "F16"): [0, 0]
    case (.zero, "F8_E4M3"): [0x80]
    default: nil
    }
  }
}

@Suite("Scales of blocks, rows and groups")
struct ScaleCheckTests {
  /// The names of scales in all formats, outer scales first.
  private static let names = [
    "nested_absmax", "weight_scale_inv", "weight_scale", "scale", "gate_up_proj_scales", "scales", "absmax",
    "SCB",
  ]

  /// The position of the sample's scales; nil if it has only one scale.
  static func scales(of sample: QuantizedSample) -> Int? {
    for name in names {
      let index = sample.tensors.firstIndex { tensor in
        tensor.name.split(separator: UInt8(ascii: ".")).last?.elementsEqual(name.utf8) == true
      }
      if let index, sample.tensors[index].shape.reduce(1, *) > 1 { return index }
    }
    return nil
  }

  private static func warnings(_ tensors: [SafetensorsFile.Tensor], _ config: String?) throws -> (
    count: Int, warnings: [String]
  ) {
    let directory = try TemporaryDirectory()
    let path = try directory.write("model.safetensors", SafetensorsFile(tensors))
    if let config { try directory.write("config.json", text: config) }
    let model = try #require(try ModelCollection(opening: [path]).components.first).model
    let quantization = Quantization(of: model)
    return (quantization.tensors.count, quantization.warnings)
  }

  @Test(
    "A NaN or infinite scale is refused by name, and so is 0 unless the format's writers use it",
    arguments: QuantizedSample.all.map(\.name))
  func faults(_ name: String) throws {
    let sample = try #require(QuantizedSample.all.first { $0.name == name })
    guard let index = Self.scales(of: sample) else { return }
    let allowsZero = ["NVFP4", "bitsandbytes"].contains { sample.name.hasPrefix($0) }
    let label = String(
      decoding: sample.tensors[index].name.split(separator: UInt8(ascii: ".")).last ?? [], as: UTF8.self)
    for fault in Fault.allCases {
      guard let bits = fault.bits(sample.tensors[index].dtype) else { continue }
      var tensors = sample.tensors
      tensors[index].data.replaceSubrange(0..<bits.count, with: bits)
      let found = try Self.warnings(tensors, sample.config)
      if fault == .zero, allowsZero {
        #expect(found.count == 1 && found.warnings == [], "\(fault)")
      } else {
        #expect(found.count == sample.expected.count - 1, "\(fault)")
        let reason = "is not dequantised: scale 0 of \(label) is \(fault.rawValue);"
        #expect(found.warnings.contains { $0.contains(reason) }, "\(fault): \(found.warnings)")
      }
    }
  }

  @Test("Padding in rows of scales may have any value")
  func padding() throws {
    let sample = try #require(QuantizedSample.all.first { $0.name == "AWQ for vectors" })
    var tensors = sample.tensors
    let index = try #require(Self.scales(of: sample))
    // The layer uses three of eight scales in a row.
    for row in 0..<10 {
      for column in 3..<8 {
        let place = 2 * (8 * row + column)
        tensors[index].data[place] = 0
        tensors[index].data[place + 1] = 0
      }
    }
    let found = try Self.warnings(tensors, sample.config)
    #expect(found.count == 1 && found.warnings == [])
  }
}
