internal import Safetensors

/// The files of one format in a directory: how they are called, and which of them is the model.
struct ModelFamily {
  /// What files' names end in.
  let suffixes: [String]
  /// Files of these names are the model itself, whatever lies beside them.
  let mainFiles: [String]
  /// What an index has in its name, before `.json`.
  let indexMark: String
  /// Files that training leaves beside a model, by how their names begin.
  let companions: [String]
  /// Several files that are no parts of a split are one model together.
  let joinsFiles: Bool

  static let safetensors = ModelFamily(
    suffixes: [".safetensors"], mainFiles: ["model.safetensors", "diffusion_pytorch_model.safetensors"],
    indexMark: ".safetensors.index", companions: [], joinsFiles: true)

  static let pyTorch = ModelFamily(
    suffixes: [".bin", ".pt", ".pth", ".ckpt"],
    mainFiles: ["pytorch_model.bin", "diffusion_pytorch_model.bin"],
    indexMark: ".bin.index",
    companions: ["training_args.", "optimizer.", "scheduler.", "scaler.", "rng_state"],
    joinsFiles: false)

  /// In the order in which they are looked for.
  static let all = [safetensors, pyTorch]

  /// The usual names of an index.
  var mainIndexes: [String] { mainFiles.map { $0 + ".index.json" } }

  /// What the files are called in messages.
  var pattern: String { suffixes.joined(separator: ", ") }

  /// True if a file of this name can be one of the model's.
  func isFile(_ name: [UInt8]) -> Bool {
    suffixes.contains { name.count > $0.utf8.count && name.suffix($0.utf8.count).elementsEqual($0.utf8) }
      && !companions.contains { name.starts(with: $0.utf8) }
  }

  /// True if a file of this name is an index.
  func isIndex(_ name: some Collection<UInt8>) -> Bool {
    let name = String(decoding: name, as: UTF8.self)
    return name.hasSuffix(".json") && name.contains(indexMark)
  }
}
