import Fixtures
import Models
import Testing

@Suite("Kinds of quantised modules")
struct QuantizedKindTests {
  private func sample(_ name: String) throws -> QuantizedSample {
    try #require(QuantizedSample.all.first { $0.name == name })
  }

  @Test("A GPTQ embedding is refused, since its writers disagree on the order of rows and columns")
  func embedding() throws {
    let sample = try sample("GPTQ of 4 bits, version 1, reordered")
    let tensors = sample.tensors.map { tensor in
      var tensor = tensor
      tensor.name = Array(
        String(decoding: tensor.name, as: UTF8.self).replacing("layers.0.mlp.up_proj", with: "embed_tokens")
          .utf8)
      return tensor
    }
    let found = try Recognised(tensors, config: sample.config)
    #expect(found.names == [])
    #expect(found.quantization.warnings.first?.contains("it is an embedding") == true)
  }

  @Test("GPTQ with shapes that fit two widths in the configuration is refused, unless the index decides")
  func widths() throws {
    let config =
      "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4, \"dynamic\": {\"x\": {\"bits\": 2}}}}"
    func names(_ index: Int?) throws -> [String] {
      var tensors: [SafetensorsFile.Tensor] = [
        .init("a.qweight", "I32", [4, 5]), .init("a.qzeros", "I32", [1, 1]),
        .init(
          "a.scales", "F16", [1, 5], data: (0..<5).flatMap { _ in [0, 0x3C] as [UInt8] }),
      ]
      if let index {
        tensors.append(.init("a.g_idx", "I32", [index], data: [UInt8](repeating: 0, count: index * 4)))
      }
      let found = try Recognised(tensors, config: config)
      let isRefused = found.quantization.warnings.contains { $0.contains("codes of several widths") }
      #expect(isRefused == (index == nil))
      return found.quantization.tensors.map { "\($0.shape)" }
    }
    #expect(try names(nil) == [])
    #expect(try names(32) == ["[5, 32]"])
    #expect(try names(64) == ["[5, 64]"])
  }

  @Test("Symmetric zero points are compared without a word's unused bits", arguments: [3, 4])
  func paddedZeros(_ bits: Int) throws {
    let sample = try sample("GPTQ of \(bits) bits, ragged")
    var tensors = sample.tensors
    let half = 1 << (bits - 1)
    let index = try #require(tensors.firstIndex { $0.name.suffix(6).elementsEqual("qzeros".utf8) })
    var zeros = [UInt8](repeating: 0, count: tensors[index].data.count)
    for bit in 0..<11 * bits where half >> (bit % bits) & 1 == 1 { zeros[bit / 8] |= 1 << UInt8(bit % 8) }
    tensors[index].data = zeros
    let config =
      "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": \(bits), \"group_size\": -1, \"sym\": true}}"
    let found = try Recognised(tensors, config: config)
    #expect(found.quantization.tensors.first?.arithmetic.zeros?.increment == 0)
    #expect(found.quantization.warnings.first?.contains("every zero point is as in gptq_v2") == true)
  }

  @Test("ModelOpt's packed experts in one tensor are refused by name")
  func packedExperts() throws {
    let found = try Recognised(
      [
        .init("m.experts.gate_up_proj", "U8", [2, 32, 8]),
        .init("m.experts.gate_up_proj_weight_scale", "F8_E4M3", [2, 32, 1]),
        .init("m.experts.gate_up_proj_weight_scale_2", "F32", [2]),
      ], config: "{\"quantization_config\": {\"quant_method\": \"modelopt\", \"quant_algo\": \"NVFP4\"}}")
    #expect(found.names == [] && found.shown.count == 3)
    #expect(
      found.quantization.warnings.contains {
        $0.contains("is not dequantised: packed experts in one tensor")
      })
  }

  @Test("Parts of another format beside a supported weight cause no warning")
  func foreignPart() throws {
    let found = try Recognised(
      [
        .init("a.weight", "F8_E4M3", [2, 3]), .init("a.weight_scale", "F32", [], data: [0, 0, 0x80, 0x3F]),
        .init("a.comfy_quant", "U8", [4]),
      ], config: nil)
    #expect(found.names == ["a.weight"] && found.quantization.warnings == [])
  }

  @Test(
    "FP8 is not dequantised by a configuration whose block size is not two positive numbers",
    arguments: [#""x""#, "[0, 128]", "[-128, 128]", "[128]", "[128, 128, 128]", "128", "{}"])
  func blockSizes(_ size: String) throws {
    let found = try Recognised(
      [.init("a.weight", "F8_E4M3", [131, 140]), .init("a.weight_scale_inv", "F32", [2, 2])],
      config: "{\"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": \(size)}}")
    #expect(found.names == [])
    let warning = try #require(found.quantization.warnings.first)
    #expect(warning.contains("weight_block_size in the configuration is not"))
  }

  @Test("4-bit codes stored as int8 are not mistaken for an int8 weight without a scale")
  func nibblesInBytes() throws {
    let sample = try sample("bitsandbytes nf4")
    var tensors = sample.tensors
    let index = try #require(tensors.firstIndex { $0.name.suffix(7).elementsEqual(".weight".utf8) })
    tensors[index].dtype = "I8"
    let found = try Recognised(tensors, config: sample.config)
    #expect(found.names.count == 1 && found.quantization.warnings == [])
  }

  @Test("Llama 4's experts whose scales are neither rows nor columns are refused")
  func transposedExperts() throws {
    let found = try Recognised(
      [
        .init("m.experts.down_proj", "F8_E4M3", [2, 4, 6]),
        .init("m.experts.down_proj_scale", "F32", [2, 4, 1]),
      ],
      config: "{\"quantization_config\": {\"quant_method\": \"fbgemm_fp8\"}}")
    #expect(found.names == [])
    #expect(found.quantization.warnings.first?.contains("expected 2x1x6 for a weight of 2x4x6") == true)
  }

  @Test(
    "ModelOpt's NVFP4 uses groups of 32 if one of its two configuration files says so", arguments: [16, 32])
  func groupSizes(_ size: Int) throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write(
      "model.safetensors",
      SafetensorsFile(
        .init("a.weight", "U8", [2, 32]),
        .init("a.weight_scale", "F8_E4M3", [2, 2], data: [0x38, 0x38, 0x38, 0x38]),
        .init("a.weight_scale_2", "F32", [], data: [0, 0, 0x80, 0x3F])))
    try directory.write(
      "config.json",
      text: "{\"quantization_config\": {\"quant_method\": \"modelopt\", \"quant_algo\": \"W4A8_NVFP4_FP8\"}}")
    try directory.write(
      "hf_quant_config.json",
      text: "{\"quantization\": {\"quant_algo\": \"W4A8_NVFP4_FP8\", \"group_size\": \(size)}}")
    let model = try #require(try ModelCollection(opening: [path]).components.first).model
    let tensors = Quantization(of: model).tensors
    #expect(tensors.map { $0.arithmetic.scales.blocks.columnBlock } == (size == 32 ? [32] : []))
  }
}
