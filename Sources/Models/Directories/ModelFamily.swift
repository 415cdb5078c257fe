internal import Safetensors

/// A file format: the names of its files, and which of them are models.
struct ModelFamily {
  /// The suffixes of the files, in lower case.
  let suffixes: [String]
  /// Files with these names are the model, whatever else is in the directory.
  let mainFiles: [String]
  /// The part of an index's name before `index`, or before a variant and `.index`.
  let indexMark: String
  /// Prefixes of files that are not models: training files, and OpenVINO's weights.
  let companions: [String]
  /// True if several files that are not parts of a split form one model.
  let joinsFiles: Bool
  /// Suffixes of files that are not models: the optimizer states of DeepSpeed's ranks.
  var companionEnds: [String] = []

  static let safetensors = ModelFamily(
    suffixes: [".safetensors", ".sft"],
    mainFiles: ["model.safetensors", "diffusion_pytorch_model.safetensors"],
    indexMark: ".safetensors.", companions: [], joinsFiles: true)

  static let pyTorch = ModelFamily(
    suffixes: [".bin", ".pt", ".pth", ".th", ".ckpt", ".pth.tar"],
    mainFiles: ["pytorch_model.bin", "diffusion_pytorch_model.bin"],
    indexMark: ".bin.",
    companions: [
      "training_args.", "optimizer.", "scheduler.", "scaler.", "sampler.", "rng_state", "random_states_",
      "openvino_",
    ],
    joinsFiles: false, companionEnds: ["_optim_states.pt"])

  /// Programs that contain weights. Many exporters write one beside the model.
  static let programs = ModelFamily(
    suffixes: [".pt2", ".torchscript", ".jit", ".ptl"], mainFiles: [], indexMark: ".pt2.", companions: [],
    joinsFiles: false)

  /// In the order of precedence.
  static let all = [safetensors, pyTorch, programs]

  /// The usual names of an index.
  var mainIndexes: [String] { mainFiles.map { $0 + ".index.json" } }

  /// True if a file of this name can be part of a model.
  func isFile(_ name: [UInt8]) -> Bool {
    suffixes.contains { name.hasSuffix(ignoringCase: $0) } && !isCompanion(name)
  }

  /// True for a file that is not a model, by its name.
  func isCompanion(_ name: [UInt8]) -> Bool {
    suffixes.contains { name.hasSuffix(ignoringCase: $0) }
      && (companions.contains { name.starts(with: $0.utf8) }
        || companionEnds.contains { name.hasSuffix(ignoringCase: $0) })
  }

  /// True if a file of this name is an index.
  func isIndex(_ name: some Collection<UInt8>) -> Bool {
    let name = String(decoding: name, as: UTF8.self)
    guard name.hasSuffix(".json"), let mark = name.firstRange(of: indexMark) else { return false }
    let end = name[mark.upperBound...]
    return end.hasPrefix("index") || end.hasSuffix(".index.json")
  }

  /// True if a file of this name is a PEFT adapter, which changes a model and is not a model itself.
  static func isAdapter(_ name: [UInt8]) -> Bool { name.starts(with: "adapter_model.".utf8) }

  /// The variant in the name of a file or index, as diffusers and transformers write it: `fp16` in
  /// `model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors` and `model.safetensors.index.fp16.json`; older ones as in
  /// `model-00001-of-00002.fp16.safetensors` and `model.safetensors.fp16.index.json`. Nil for any other name.
  func variant(of name: [UInt8]) -> String? {
    let name =
      ShardName(name).map { $0.split.prefix.dropLast() + $0.split.suffix }
      ?? String(decoding: name, as: UTF8.self)
    for main in mainFiles {
      guard let dot = main.lastIndex(of: ".") else { continue }
      let (stem, suffix) = (main[..<dot], main[dot...])
      let forms = [
        (main + ".index.", ".json"), (main + ".", ".index.json"), (stem + ".", suffix + ".index.json"),
        (stem + ".", String(suffix)),
      ]
      for (start, end) in forms where name.hasPrefix(start) && name.hasSuffix(end) {
        let variant = name.dropFirst(start.count).dropLast(end.count)
        // `model.safetensors-00001-of-00002.safetensors` has no variant.
        if !variant.isEmpty, !variant.contains("."), variant != suffix.dropFirst(),
          name.count > start.count + end.count
        {
          return String(variant)
        }
      }
    }
    return nil
  }
}
