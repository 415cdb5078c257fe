import Fixtures
import Models
import Safetensors
import SystemPackage
import Testing

/// A model of some tensors and a configuration, and the quantised weights that are recognised in it.
struct Recognised {
  let directory: TemporaryDirectory
  let model: Model
  let quantization: Quantization

  init(_ tensors: [SafetensorsFile.Tensor], config: String?, configName: String = "config.json") throws {
    directory = try TemporaryDirectory()
    let path = try directory.write("model.safetensors", SafetensorsFile(tensors))
    if let config { try directory.write(configName, text: config) }
    model = try #require(try ModelCollection(opening: [path]).components.first).model
    quantization = Quantization(of: model)
  }

  var names: [String] { quantization.tensors.map { String(decoding: $0.name.utf8, as: UTF8.self) } }
  /// The names of all tensors in `.dequant/`, stored or computed.
  var shown: [String] {
    let hidden = Set(quantization.hidden)
    let stored = model.places.map(model.name).filter { !hidden.contains($0) }
    return (stored.map { String(decoding: $0.utf8, as: UTF8.self) } + names).sorted()
  }
}

private typealias Part = SafetensorsFile.Tensor

/// A module that is refused, and a part of the expected reason.
struct Refused: Sendable, CustomTestStringConvertible {
  let reason: String
  let sample: String
  /// Changes the sample's tensors.
  let change: @Sendable (inout [SafetensorsFile.Tensor]) -> Void
  var testDescription: String { "\(sample): \(reason)" }

  static func without(_ part: String, of sample: String, _ reason: String) -> Refused {
    Refused(reason: reason, sample: sample) { tensors in tensors.removeAll { $0.isCalled(part) } }
  }

  static func with(
    _ part: String, _ dtype: String, _ shape: [Int], of sample: String, data: [UInt8]? = nil, _ reason: String
  ) -> Refused {
    Refused(reason: reason, sample: sample) { tensors in
      for index in tensors.indices where tensors[index].isCalled(part) {
        tensors[index] = SafetensorsFile.Tensor(name: tensors[index].name, dtype, shape, data: data)
      }
    }
  }

  private static let zeros = [UInt8](repeating: 0, count: 384)
  private static let negative = [UInt8](repeating: 255, count: 384)
  private static let beyond: [UInt8] = [3, 0, 0, 0] + zeros.dropFirst(4)
  private static let noJSON: [UInt8] = Array("{x}".utf8)

  static let all: [Refused] = [
    .without("weight_scale_inv", of: "FP8 blocks with F32 scales", "without a scale"),
    .with("weight_scale_inv", "F32", [1, 1], of: "FP8 blocks with F32 scales", "expected 2x2 for"),
    .with("weight_scale_inv", "I32", [2, 2], of: "FP8 blocks with F32 scales", "is I32"),
    .with("weight_scale_inv", "F32", [3], of: "FP8 blocks with F32 scales", "has 3 numbers"),
    .with(
      "weight_scale", "F32", [], of: "FP8 with a scale for the tensor, without a configuration",
      data: [0, 0, 0, 0], "not a finite positive"),
    .with(
      "weight_scale", "F32", [], of: "FP8 with a scale for the tensor, without a configuration",
      data: [0, 0, 0xC0, 0x7F], "not a finite positive"),
    .with(
      "weight_scale", "F32", [4, 1], of: "FP8 with a scale for each row", "expected 1x1 for a weight of"),
    .without("weight_zero_point", of: "int8 with zero points for groups", "weight_zero_point is missing"),
    .with("weight_zero_point", "I8", [4, 2], of: "int8 with zero points for groups", "expected 4x3 for"),
    .with("weight_scale", "F16", [4, 5], of: "int8 with zero points for groups", "expected 4x3 for"),
    .without("weight_global_scale", of: "NVFP4 of compressed-tensors", "weight_global_scale is missing"),
    .with(
      "weight_global_scale", "F32", [1], of: "NVFP4 of compressed-tensors", data: [0, 0, 0, 0],
      "not a finite positive"),
    .with("weight_scale", "F8_E4M3", [6, 1], of: "NVFP4 of compressed-tensors", "expected 6x3 for"),
    .with(
      "weight_scale_2", "F32", [1], of: "NVFP4 of ModelOpt", data: [0, 0, 0x80, 0xBF], "not a finite positive"
    ),
    .with("weight_scale", "U8", [5, 3], of: "MXFP4 of compressed-tensors", "expected 5x2 for"),
    .with(
      "gate_up_proj_scales", "U8", [2, 5, 2], of: "gpt-oss's experts under Hugging Face's names",
      "expected 2x6x2 for"),
    .with("qzeros", "I32", [2, 8], of: "GPTQ of 4 bits, version 1, reordered", "scales has 3 rows"),
    .with("scales", "F16", [3, 8], of: "GPTQ of 4 bits, version 1, reordered", "qweight has 64 columns"),
    .with("g_idx", "I32", [95], of: "GPTQ of 4 bits, version 1, reordered", "expected 96 for 96 inputs"),
    .with("g_idx", "I32", [96], of: "GPTQ of 4 bits, version 1, reordered", data: beyond, "g_idx contains 3"),
    .with(
      "g_idx", "I32", [96], of: "GPTQ of 4 bits, version 1, reordered", data: negative, "g_idx contains -1"),
    .with(
      "g_idx", "I32", [96], of: "GPTQ of 4 bits, version 1, reordered", data: zeros, "g_idx contains only 0"),
    .without("scales", of: "GPTQ of 8 bits, version 2, reordered", "scales is missing"),
    .with("qzeros", "I32", [3, 5], of: "AWQ without a configuration", "expected 2x5 for"),
    .with(
      "weight_shape", "I32", [2], of: "packed integers of 4 bits", data: [37, 0, 0, 0, 0, 0, 0, 0],
      "weight_shape is [37, 0]"),
    .with(
      "weight_shape", "I32", [2], of: "packed integers of 4 bits", data: [37, 0, 0, 0, 48, 0, 0, 0],
      "48 columns of 4 bits need"),
    .with(
      "weight_packed", "I8", [37, 12], of: "packed integers of 4 bits", "weight_packed is I8, not I32"),
    .with("absmax", "F32", [363], of: "bitsandbytes nf4", "expected 364 for"),
    .with("quant_map", "F32", [16], of: "bitsandbytes nf4", "quant_map is not the standard table of nf4"),
    .with("quant_state.bitsandbytes__nf4", "U8", [3], of: "bitsandbytes nf4", data: noJSON, "invalid JSON"),
    .with("nested_absmax", "F32", [1], of: "bitsandbytes fp4, nested", "expected 2 for"),
    .with("SCB", "F32", [8], of: "bitsandbytes int8", "expected 9 for"),
    .with("weight_format", "U8", [], of: "bitsandbytes int8", data: [2], "weight_format is not 0"),
  ]

  static func adding(
    _ part: String, _ dtype: String, _ shape: [Int], to sample: String, data: [UInt8]? = nil, _ reason: String
  ) -> Refused {
    Refused(reason: reason, sample: sample) { tensors in
      tensors.append(
        SafetensorsFile.Tensor("model.layers.0.mlp.up_proj.\(part)", dtype, shape, data: data))
    }
  }

  /// The group of each of `count` columns, in turn: 0, 1, 2 and so on, then 0 again.
  private static func index(_ count: Int, groups: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    for column in 0..<count { bytes += [UInt8(column % groups), 0, 0, 0] }
    return bytes
  }

  /// Modules with an additional part, or without a necessary one.
  static let otherParts: [Refused] = [
    .adding("weight", "F32", [2], to: "packed integers of 4 bits", "an unquantised tensor of this name"),
    .adding("pre_quant_scale", "F32", [48], to: "NVFP4 of ModelOpt", "pre_quant_scale is part of the layer"),
    .adding("weight_scale", "F32", [], to: "FP8 blocks with F32 scales", "two scales"),
    .adding(
      "weight_scale_2", "F32", [], to: "NVFP4 of compressed-tensors",
      "weight_scale_2, a multiplier, but compressed-tensors uses weight_global_scale, a divisor"),
    .adding(
      "weight_scale_2", "F32", [1], to: "FP8 with a scale for each row",
      "weight_scale_2, which its format does not use"),
    .adding(
      "weight_global_scale", "F32", [1], to: "packed integers of 4 bits",
      "weight_global_scale, which its format"),
    .adding(
      "weight_scale", "F32", [9, 1], to: "bitsandbytes int8", "weight_scale, which its format does not use"),
    .adding(
      "weight_zero_point", "I8", [1], to: "MXFP4 of compressed-tensors", data: [1],
      "the format has no zero points"),
    .adding(
      "weight_g_idx", "I32", [48], to: "NVFP4 of compressed-tensors", data: index(48, groups: 3),
      "weight_g_idx, which its format does not use"),
    .adding(
      "weight_g_idx", "I32", [140], to: "FP8 blocks with F32 scales", data: index(140, groups: 2),
      "but no groups of columns"),
    .without("SCB", of: "bitsandbytes int8", "without a scale"),
    .without("weight_scale", of: "int8 with a scale for each row", "without a scale"),
    .without(
      "qweight", of: "GPTQ of 8 bits, version 2, reordered", "its qweight is missing"),
    .without(
      "weight_packed", of: "packed integers of 4 bits", "its weight_packed is missing"),
    .without(
      "quant_state.bitsandbytes__nf4", of: "bitsandbytes nf4", "its quant_state.bitsandbytes__nf4 is missing"),
  ]
}

extension SafetensorsFile.Tensor {
  fileprivate func isCalled(_ part: String) -> Bool {
    name.suffix(part.utf8.count).elementsEqual(part.utf8)
      && (name.count == part.utf8.count || name[name.count - part.utf8.count - 1] == UInt8(ascii: ".")
        || name[name.count - part.utf8.count - 1] == UInt8(ascii: "_"))
  }
}

@Suite("Quantisation")
struct QuantizationTests {
  @Test(
    "A module whose parts do not match is not dequantised, and a warning says why",
    arguments: Refused.all + Refused.otherParts)
  func refused(_ refused: Refused) throws {
    let sample = try #require(QuantizedSample.all.first { $0.name == refused.sample })
    var tensors = sample.tensors
    refused.change(&tensors)
    let found = try Recognised(tensors, config: sample.config)
    #expect(found.names == [])
    #expect(found.shown == tensors.map { String(decoding: $0.name, as: UTF8.self) }.sorted())
    let warning = try #require(found.quantization.warnings.first)
    #expect(warning.contains(refused.reason), "\(warning)")
    #expect(warning.contains("is not dequantised: "))
  }

  @Test("A model without quantised tensors has no warnings")
  func ordinary() throws {
    let found = try Recognised(
      [
        Part("a.weight", "BF16", [4, 4]), Part("a.scale", "F32", [1]), Part("q_norm.scale", "F32", [4]),
        Part("b.weight", "F8_E4M3", [4, 4]), Part("c.weight", "I8", [4, 4]), Part("x_blocks", "U8", [2]),
      ], config: "{\"model_type\": \"llama\", \"limit\": [0.0, Infinity, -Infinity, NaN]}")
    #expect(found.quantization.tensors.isEmpty)
    #expect(found.quantization.warnings == [])
  }

  @Test(
    "An unsupported scheme is one warning, and nothing is dequantised",
    arguments: [
      ("\"quant_method\": \"torchao\"", "'torchao'"), ("\"quant_method\": \"hqq\"", "'hqq'"),
      ("\"quant_method\": \"bitnet\"", "'bitnet'"), ("\"quant_method\": \"quark\"", "'quark'"),
      ("\"quant_method\": \"auto-round\"", "'auto-round'"),
      ("\"quant_method\": \"gptq\", \"bits\": 4, \"checkpoint_format\": \"marlin\"", "'marlin'"),
      ("\"quant_method\": \"awq\", \"bits\": 4, \"version\": \"gemv_fast\"", "'gemv_fast'"),
      ("\"quant_method\": \"gptq\", \"bits\": 4, \"rotation\": \"hadamard\"", "rotated"),
      (
        "\"quant_method\": \"awq\", \"bits\": 4, \"version\": \"gemm\", \"format\": \"gemv\"",
        "two ways of packing"
      ),
      (
        "\"quant_method\": \"compressed-tensors\", \"sparsity_config\": {\"format\": \"sparse-24-bitmask\"}",
        "'sparse-24-bitmask'"
      ),
      (
        "\"quant_method\": \"compressed-tensors\", \"transform_config\": {\"config_groups\": {\"u\": {}}}",
        "rotated"
      ),
    ])
  func unsupported(_ settings: String, _ reason: String) throws {
    let sample = try #require(
      QuantizedSample.all.first { $0.name.hasPrefix("FP8 with a scale for the tensor") })
    let found = try Recognised(sample.tensors, config: "{\"quantization_config\": {\(settings)}}")
    #expect(found.quantization.tensors.isEmpty)
    #expect(found.quantization.warnings.count == 1)
    #expect(found.quantization.warnings.first?.contains(reason) == true, "\(found.quantization.warnings)")
  }

  @Test("Warnings name the first ten refused modules and count the others")
  func manyRefused() throws {
    let config = "{\"quantization_config\": {\"quant_method\": \"fp8\"}}"
    let parts = (10..<22).flatMap {
      [Part("m\($0).weight", "F8_E4M3", [200, 4]), Part("m\($0).weight_scale_inv", "F32", [1, 1])]
    }
    let warnings = try Recognised(parts, config: config).quantization.warnings
    #expect(warnings.count { $0.contains("is not dequantised: weight_scale_inv is 1x1") } == 10)
    #expect(warnings.contains { $0.contains("2 more tensors not dequantised") }, "\(warnings)")
  }

  private static let foreignFormats: [(String, [(String, String)])] = [
    ("HQQ", [("a.W_q", "U8"), ("a.nbits", "I64")]), ("MLX", [("a.weight", "U32"), ("a.scales", "BF16")]),
    ("AQLM", [("a.codes", "I8"), ("a.codebooks", "F16")]),
    ("EXL3", [("a.trellis", "I16"), ("a.suh", "F16")]),
    ("EETQ", [("a.weight", "I8"), ("a.weight_scales", "F16")]),
    ("quanto", [("a.weight._data", "I8"), ("a.weight._scale", "F16")]),
    ("quanto", [("a.weight._data._data", "U8"), ("a.weight._scale", "F16"), ("a.weight._shift", "F16")]),
    ("EXL2", [("a.q_weight", "I32"), ("a.q_scale", "I32")]),
    ("torchao", [("a._weight_qdata", "U8"), ("a._weight_scale_and_zero", "BF16")]),
    ("torchao", [("a._weight_qdata", "F8_E4M3"), ("a._weight_scale", "F32")]),
    ("2:4 sparsity", [("a.weight.compressed", "BF16"), ("a.weight.bitmask", "U8")]),
    ("marlin-24", [("a.weight_packed", "I32"), ("a.meta", "I16"), ("a.scale_packed", "F16")]),
    ("VPTQ", [("a.indices", "I32"), ("a.centroids.weight", "F16")]),
    ("HIGGS", [("a.weight", "I16"), ("a.tables", "F16"), ("a.tables2", "F16")]),
    ("QuIP#", [("a.Qidxs", "I64"), ("a.SU", "F16")]),
    ("ComfyUI", [("a.weight", "F8_E4M3"), ("a.scale_weight", "F32")]),
    ("GPTQModel's bitsandbytes", [("a.weight", "U8"), ("a.weight_quant_state", "U8")]),
  ]

  @Test(
    "An unsupported format is recognised by its tensors and named in a warning", arguments: foreignFormats)
  func foreign(_ scheme: String, _ parts: [(String, String)]) throws {
    let found = try Recognised(parts.map { Part($0.0, $0.1, [4, 4]) }, config: nil)
    #expect(found.quantization.tensors.isEmpty)
    #expect(
      found.quantization.warnings.contains { $0.contains("the format \(scheme) is not supported") },
      "\(found.quantization.warnings)")
  }

  @Test("GPTQ without a configuration is refused, since its zero points are ambiguous")
  func unlabelledGPTQ() throws {
    let sample = try #require(QuantizedSample.all.first { $0.name == "GPTQ of 4 bits, version 1, reordered" })
    let found = try Recognised(sample.tensors, config: nil)
    #expect(found.names == [])
    #expect(found.quantization.warnings.first?.contains("zero points are ambiguous") == true)
  }

  @Test(
    "Symmetric GPTQ zero points take precedence over the configuration, with a warning",
    arguments: [("gptq", 8), ("gptq_v2", 7)])
  func contradictedGPTQ(_ format: String, _ stored: UInt8) throws {
    let sample = try #require(QuantizedSample.all.first { $0.name == "GPTQ of 4 bits, version 1, reordered" })
    var tensors = sample.tensors
    for index in tensors.indices where tensors[index].isCalled("qzeros") {
      tensors[index].data = [UInt8](repeating: stored << 4 | stored, count: tensors[index].data.count)
    }
    let config =
      "\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 32, \"sym\": true, \"checkpoint_format\": \"\(format)\""
    let found = try Recognised(tensors, config: "{\"quantization_config\": {\(config)}}")
    let zeros = try #require(found.quantization.tensors.first?.arithmetic.zeros)
    // In both formats the arithmetic subtracts 8.
    #expect(Int(stored) + zeros.increment == 8)
    #expect(found.quantization.warnings.first?.contains("the configuration says \(format)") == true)
  }

  @Test("Scales of the KV cache are hidden only if the configuration has a cache scheme")
  func cacheScales() throws {
    let tensors = [
      Part("l.self_attn.q_proj.weight", "F8_E4M3", [4, 4]),
      Part("l.self_attn.q_proj.weight_scale", "F32", [], data: [0, 0, 0x80, 0x3F]),
      Part("l.self_attn.k_scale", "BF16", [1]), Part("l.self_attn.q_proj.input_scale", "F32", []),
      Part("l.self_attn.o_proj.input_scale", "F32", []),
    ]
    let plain = try Recognised(tensors, config: nil)
    #expect(
      plain.shown == ["l.self_attn.k_scale", "l.self_attn.o_proj.input_scale", "l.self_attn.q_proj.weight"])
    let cached = try Recognised(
      tensors, config: "{\"quantization\": {\"quant_algo\": \"FP8\", \"kv_cache_quant_algo\": \"FP8\"}}",
      configName: "hf_quant_config.json")
    #expect(cached.shown == ["l.self_attn.o_proj.input_scale", "l.self_attn.q_proj.weight"])
  }

  /// An FP8 weight whose format the tensors alone determine, with several configuration files.
  private func withFiles(_ files: [(name: String, text: String)]) throws -> (names: Int, warnings: [String]) {
    let sample = try #require(
      QuantizedSample.all.first { $0.name.hasPrefix("FP8 with a scale for the tensor") })
    let directory = try TemporaryDirectory()
    let path = try directory.write("model.safetensors", sample.file)
    for (name, text) in files { try directory.write(name, text: text) }
    let model = try #require(try ModelCollection(opening: [path]).components.first).model
    let quantization = Quantization(of: model)
    return (quantization.tensors.count, quantization.warnings)
  }

  private static let contradictions: [([String], [String], String)] = [
    (
      ["config.json", "hf_quant_config.json"],
      [
        "{\"quantization_config\": {\"quant_method\": \"torchao\"}}",
        "{\"quantization\": {\"quant_algo\": \"FP8\"}}",
      ],
      "config.json says quant_method 'torchao', but hf_quant_config.json says 'modelopt'"
    ),
    (
      ["config.json", "quantize_config.json"],
      [
        "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}}",
        "{\"bits\": 3, \"group_size\": 128}",
      ], "config.json says bits '4', but quantize_config.json says '3'"
    ),
    (
      ["config.json", "quantize_config.json"],
      [
        "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4, \"format\": \"gptq\"}}",
        "{\"bits\": 4, \"checkpoint_format\": \"gptq_v2\"}",
      ], "says format 'gptq', but quantize_config.json says 'gptq_v2'"
    ),
    (
      ["hf_quant_config.json", "quant_config.json"],
      ["{\"quantization\": {\"quant_algo\": \"FP8\"}}", "{\"w_bit\": 4, \"q_group_size\": 128}"],
      "hf_quant_config.json says quant_method 'modelopt', but quant_config.json says 'awq'"
    ),
  ]

  @Test(
    "Contradictory configuration files are ignored, and a warning names the contradiction",
    arguments: contradictions)
  func contradicted(_ names: [String], _ texts: [String], _ reason: String) throws {
    let found = try withFiles(Array(zip(names, texts)).map { (name: $0.0, text: $0.1) })
    // The tensors alone determine the format, so the weight is dequantised.
    #expect(found.names == 1)
    #expect(found.warnings.count == 1)
    #expect(found.warnings.first?.contains(reason) == true, "\(found.warnings)")
  }

  @Test("Configuration files that agree in different words are not a contradiction")
  func agreeing() throws {
    let modelOpt = try withFiles([
      (
        "config.json",
        "{\"quantization_config\": {\"quant_method\": \"modelopt\", \"quant_algo\": \"FP8\", \"ignore\": []}}"
      ), ("hf_quant_config.json", "{\"quantization\": {\"quant_algo\": \"FP8\", \"exclude_modules\": []}}"),
    ])
    #expect(modelOpt.names == 1 && modelOpt.warnings == [])
    let awq = try withFiles([
      (
        "config.json",
        "{\"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 128, \"version\": \"gemm\"}}"
      ),
      (
        "quant_config.json",
        "{\"zero_point\": true, \"q_group_size\": 128, \"w_bit\": 4, \"version\": \"GEMM\"}"
      ),
    ])
    #expect(awq.names == 1 && awq.warnings == [])
  }

  @Test("A configuration that is not JSON is a warning")
  func brokenConfiguration() throws {
    let found = try Recognised([Part("a", "F32", [1])], config: "{\"quantization_config\": ")
    #expect(found.quantization.warnings.first?.contains("config.json") == true)
  }
}
