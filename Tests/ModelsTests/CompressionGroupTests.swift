import Fixtures
import Models
import Testing

@Suite("config_groups of compressed-tensors")
struct CompressionGroupTests {
  private static let rows =
    "\"num_bits\": 8, \"type\": \"int\", \"strategy\": \"channel\", \"symmetric\": true"
  private static let whole =
    "\"num_bits\": 8, \"type\": \"int\", \"strategy\": \"tensor\", \"symmetric\": true"
  private static let floats =
    "\"num_bits\": 8, \"type\": \"float\", \"strategy\": \"tensor\", \"symmetric\": true"

  /// The warnings about an int8 module with a scale for each row, and whether the module is dequantised.
  private func warnings(_ module: String, _ groups: [(target: String, weights: String)]) throws -> [String] {
    let texts = groups.enumerated().map { number, group in
      "\"group_\(number)\": {\"targets\": [\"\(group.target)\"], \"weights\": {\(group.weights)}}"
    }
    let config =
      "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"config_groups\": {\(texts.joined(separator: ", "))}}}"
    let found = try Recognised(
      [
        .init("\(module).weight", "I8", [2, 3]),
        .init("\(module).weight_scale", "BF16", [2, 1], data: [0x80, 0x3F, 0, 0x40]),
      ], config: config)
    #expect(found.names == (found.quantization.warnings.isEmpty ? ["\(module).weight"] : []))
    return found.quantization.warnings
  }

  @Test("A group that names a module takes precedence over an expression, and that over a class")
  func precedence() throws {
    #expect(try warnings("a.up_proj", [("Linear", Self.whole), ("re:.*up_proj", Self.rows)]) == [])
    #expect(try warnings("a.up_proj", [("re:.*up_proj", Self.whole), ("a.up_proj", Self.rows)]) == [])
    #expect(try warnings("a.up_proj", [("re:.*down_proj", Self.whole), ("Linear", Self.rows)]) == [])
  }

  @Test("A group for floating-point codes does not apply to integers")
  func kinds() throws {
    #expect(try warnings("a.up_proj", [("re:.*proj", Self.floats), ("re:.*up_proj", Self.rows)]) == [])
    #expect(
      try warnings("a.up_proj", [("Linear", Self.floats)]).first?.contains("no group in config_groups")
        == true)
  }

  @Test(
    "An embedding uses the group for embeddings, or else the group for linear modules",
    arguments: ["model.embed_tokens", "transformer.wte", "bert.embeddings.word_embeddings"])
  func embeddings(_ name: String) throws {
    #expect(try warnings(name, [("Linear", Self.whole), ("Embedding", Self.rows)]) == [])
    #expect(try warnings(name, [("re:.*up_proj", Self.whole), ("Linear", Self.rows)]) == [])
    #expect(try warnings("lm_head", [("Embedding", Self.whole), ("Linear", Self.rows)]) == [])
  }

  @Test("A module of an unknown class uses the only remaining group with a class")
  func otherClasses() throws {
    #expect(try warnings("a.router", [("re:.*up_proj", Self.whole), ("MoELinear", Self.rows)]) == [])
  }

  @Test(
    "If two groups match a module, the one that fits its tensors is used; if both fit, the module is refused")
  func severalGroups() throws {
    let lines = "\"num_bits\": 8, \"type\": \"int\", \"strategy\": \"block\", \"block_structure\": [1, 3]"
    #expect(try warnings("a.up_proj", [("re:.*up_proj", Self.whole), ("re:a[.].*", Self.rows)]) == [])
    for wrong in [lines, Self.rows.replacing("true", with: "false")] {
      let found = try warnings("a.up_proj", [("re:.*up_proj", wrong), ("re:a[.].*", Self.rows)])
      #expect(found.isEmpty == (wrong != lines), "\(found)")
      #expect(wrong != lines || found.first?.contains("two groups in config_groups") == true)
    }
  }

  @Test("Without a strategy, the scale's shape decides")
  func noStrategy() throws {
    #expect(
      try warnings("a.up_proj", [("Linear", "\"num_bits\": 8, \"type\": \"int\", \"symmetric\": true")]) == []
    )
  }

  @Test(
    "8-bit weights are dequantised whatever quantization_status says, unless the format is dense",
    arguments: [
      ("compressed", "int-quantized", 1), ("frozen", "naive-quantized", 1), ("compressed", "dense", 0),
    ])
  func status(_ status: String, _ format: String, _ count: Int) throws {
    let sample = try #require(QuantizedSample.all.first { $0.name == "int8 with a scale for each row" })
    let config = try #require(sample.config).replacing(
      "\"compressed\"", with: "\"\(status)\", \"format\": \"\(format)\"")
    #expect(try Recognised(sample.tensors, config: config).names.count == count)
  }

  @Test(
    "Settings nested one level deeper are read, and so is the sparsity beside them",
    arguments: ["dense", "sparse-24-bitmask"])
  func nested(_ sparsity: String) throws {
    let sample = try #require(QuantizedSample.all.first { $0.name == "int8 with a scale for each row" })
    let config =
      "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"sparsity_config\": {\"format\": \"\(sparsity)\"}, "
      + (try #require(sample.config)).dropFirst() + "}"
    #expect(try Recognised(sample.tensors, config: config).names.count == (sparsity == "dense" ? 1 : 0))
  }
}
