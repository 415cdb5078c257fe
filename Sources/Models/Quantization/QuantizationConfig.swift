internal import Safetensors
internal import SystemPackage

/// What the files beside a model say about its quantisation.
struct QuantizationConfig: Sendable {
  /// Families of formats with common tensor names.
  enum Family: Sendable {
    /// `fp8`, `fbgemm_fp8`, `mxfp8`: DeepSeek, Qwen, Mistral, Llama.
    case float8
    case compressedTensors
    /// `mxfp4`, used by gpt-oss.
    case gptOSS
    case modelOpt
    case gptq
    case awq
    case bitsAndBytes
  }

  /// Nil if the files do not say. Then only formats that need no configuration are read.
  let family: Family?
  /// The object with the settings; empty if there is none.
  let settings: ConfigValue
  /// The whole of config.json.
  let model: ConfigValue
  /// How files contradict each other, as a clause that is safe to print. If they do, none is used.
  var contradiction: String? = nil

  static let none = QuantizationConfig(family: nil, settings: .object([:]), model: .object([:]))

  private init(
    family: Family?, settings: ConfigValue, model: ConfigValue, contradiction: String? = nil
  ) {
    self.family = family
    self.settings = settings
    self.model = model
    self.contradiction = contradiction
  }

  /// Thrown for an unsupported format.
  struct Unsupported: Error {
    /// A clause; safe to print.
    let reason: String
  }

  /// Configuration files other than config.json, and the method of a file that names none.
  private static let files = [
    ("hf_quant_config.json", "modelopt"), ("quantize_config.json", "gptq"), ("quant_config.json", "awq"),
  ]

  /// Reads the files beside a model: config.json, hf_quant_config.json, quantize_config.json,
  /// quant_config.json. The first with a quantisation decides; the others add settings that it lacks. If one
  /// contradicts it, the model is read as if it had no configuration.
  static func read(in directory: FilePath) throws -> QuantizationConfig {
    let model = try ConfigValue(opening: directory.appending("config.json")) ?? .object([:])
    var statements: [ConfigStatement] = []
    if let settings = settings(in: model), let method = method(of: settings) {
      statements.append(ConfigStatement(file: "config.json", method: method, settings: settings))
    }
    for (name, method) in files {
      guard let file = try ConfigValue(opening: directory.appending(name)) else { continue }
      let settings = file["quantization"] ?? file
      let own = settings["quant_method"]?.string?.lowercased()
      statements.append(ConfigStatement(file: name, method: own ?? method, settings: settings))
    }
    if let first = statements.first {
      let contradiction = statements.dropFirst().lazy.compactMap { first.contradiction(to: $0) }.first
      if let contradiction {
        return QuantizationConfig(
          family: nil, settings: .object([:]), model: model, contradiction: contradiction)
      }
      let settings = statements.dropFirst().reduce(first.settings) { $0.filled(from: $1.settings) }
      return try QuantizationConfig(settings: settings, method: first.method, model)
    }
    if model["quantization"]?["bits"] != nil {
      throw Unsupported(reason: "the format MLX is not supported")
    }
    return QuantizationConfig(family: nil, settings: .object([:]), model: model)
  }

  /// Reads config.json; nil if it does not mention a quantisation.
  init?(model: ConfigValue) throws(Unsupported) {
    guard let settings = Self.settings(in: model) else { return nil }
    guard let method = Self.method(of: settings) else {
      // Settings in an unknown form are ignored, but some formats need no configuration.
      self = QuantizationConfig(family: nil, settings: .object([:]), model: model)
      return
    }
    try self.init(settings: settings, method: method, model)
  }

  /// The object in config.json with the quantisation's settings.
  private static func settings(in model: ConfigValue) -> ConfigValue? {
    let places = [
      model["quantization_config"], model["compression_config"], model["text_config"]?["quantization_config"],
    ]
    guard let settings = places.lazy.compactMap({ $0 }).first else { return nil }
    // Some versions of transformers nest the settings of compressed-tensors one level deeper, beside
    // sparsity.
    return settings["quantization_config"].map { $0.filled(from: settings) } ?? settings
  }

  /// The method that config.json's settings name, in lower case.
  private static func method(of settings: ConfigValue) -> String? {
    if settings["load_in_4bit"]?.bool == true || settings["load_in_8bit"]?.bool == true {
      return "bitsandbytes"
    }
    if let method = settings["quant_method"]?.string { return method.lowercased() }
    // Older files of compressed-tensors do not name the method.
    return settings["config_groups"] == nil ? nil : "compressed-tensors"
  }

  private init(settings: ConfigValue, method: String, _ model: ConfigValue) throws(Unsupported) {
    let method = method.lowercased()
    guard let family = Self.families[method] else {
      let name = PrintableText.quoted(method)
      throw Unsupported(reason: "its quant_method is \(name), which is not supported")
    }
    self.init(family: family, settings: settings, model: model)
    try refuseUnsupportedVariants()
  }

  static let families: [String: Family] = [
    "fp8": .float8, "mxfp8": .float8, "fbgemm_fp8": .float8, "compressed-tensors": .compressedTensors,
    "compressed_tensors": .compressedTensors, "mxfp4": .gptOSS, "gpt_oss_mxfp4": .gptOSS,
    "modelopt": .modelOpt, "modelopt_fp4": .modelOpt, "modelopt_fp8": .modelOpt,
    "modelopt_mixed": .modelOpt, "gptq": .gptq, "awq": .awq, "bitsandbytes": .bitsAndBytes,
  ]

  /// Throws for packings of a supported family that cannot be read.
  private func refuseUnsupportedVariants() throws(Unsupported) {
    switch family {
    case .gptq:
      try requirePacking(["gptq", "gptq_v2"], "its GPTQ format is")
      if settings["is_marlin_format"]?.bool == true {
        throw Unsupported(reason: "its GPTQ format is 'marlin', which is not supported")
      }
      if settings["rotation"] != nil { throw Unsupported(reason: "its weights are rotated") }
    case .awq: try requirePacking(["gemm", "gemv", "exllama", "ipex"], "its AWQ version is")
    case .compressedTensors:
      try refuseUnsupportedCompression()
    default: break
    }
  }

  /// The packings that GPTQ and AWQ configurations name, in lower case: `checkpoint_format`, `format`, and
  /// AWQ's `version`.
  var packings: Set<String> {
    let names = ["checkpoint_format", "format"] + (family == .awq ? ["version"] : [])
    return Set(names.compactMap { settings[$0]?.string?.lowercased() })
  }

  private func requirePacking(_ known: Set<String>, _ message: String) throws(Unsupported) {
    if let other = packings.subtracting(known).min() {
      throw Unsupported(reason: "\(message) \(PrintableText.quoted(other)), which is not supported")
    }
    if packings.count > 1 { throw Unsupported(reason: "its configuration names two ways of packing") }
  }

  private func refuseUnsupportedCompression() throws(Unsupported) {
    if let sparsity = settings["sparsity_config"]?["format"]?.string, sparsity != "dense" {
      throw Unsupported(
        reason: "its sparsity format is \(PrintableText.quoted(sparsity)), which is not supported")
    }
    if let groups = settings["transform_config"]?["config_groups"]?.object, !groups.isEmpty {
      throw Unsupported(reason: "its weights are rotated: transform_config is not empty")
    }
    let groups = settings["config_groups"]?.object.map { Array($0.values) } ?? []
    for format in ([settings["format"]] + groups.map { $0["format"] }).compactMap({ $0?.string })
    where ["marlin-24", "mxfp6-pack-quantized"].contains(format) {
      throw Unsupported(reason: "its format is \(PrintableText.quoted(format)), which is not supported")
    }
  }
}

extension QuantizationConfig {
  /// The size of FP8 blocks as (rows, columns); nil if the configuration gives none.
  var blockSize: (UInt64, UInt64)? { settings["weight_block_size"]?.pair }

  /// True if the configuration gives a size of FP8 blocks that is not two positive integers.
  var hasInvalidBlockSize: Bool {
    blockSize == nil && settings["weight_block_size"] != nil && !settings.isNull("weight_block_size")
  }

  /// True if the configuration says that FP8 weights have one scale each, without blocks.
  var hasNoBlocks: Bool { family == .float8 && settings.isNull("weight_block_size") }

  /// True if weights are plain floating-point numbers, and the configuration only says how to quantise them.
  ///
  /// `quantization_status` is no help: published models with FP8 weights have `frozen`.
  var isUncompressed: Bool {
    family == .compressedTensors && ["dense", "fakequant"].contains(settings["format"]?.string ?? "")
  }

  /// True if attention's keys and values are quantised too. Their scales are then no parameters.
  var hasKVCacheScheme: Bool {
    settings["kv_cache_scheme"] != nil || settings["kv_cache_quant_algo"] != nil
  }

  /// The modules that the configuration excludes from quantisation.
  private var excludedModules: [String] {
    ["ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules", "llm_int8_skip_modules"]
      .flatMap { settings[$0]?.strings ?? [] }
  }

  /// True if the configuration excludes a module: by its name, a part of it, a glob, or `re:` and an
  /// expression. Only decides whether a weight without a scale is an error.
  func excludes(_ module: ArraySlice<UInt8>) -> Bool {
    let components = module.split(separator: UInt8(ascii: "."))
    return excludedModules.contains { entry in
      if entry.hasPrefix("re:") {
        return NamePattern(String(entry.dropFirst(3)))?.matchesPrefix(of: module) ?? false
      }
      if entry.contains("*") { return NamePattern(glob: entry)?.matchesPrefix(of: module) ?? false }
      let wanted = entry.utf8.split(separator: UInt8(ascii: "."))
      guard !wanted.isEmpty, wanted.count <= components.count else { return false }
      return (0...components.count - wanted.count).contains { start in
        zip(components[start...], wanted).allSatisfy { $0.elementsEqual($1) }
      }
    }
  }
}
