internal import Safetensors

/// The PyTorch class of a module, guessed from its name.
enum ModuleClass: String {
  case linear = "Linear"
  case embedding = "Embedding"

  init(of module: ArraySlice<UInt8>) {
    let name = String(decoding: module.split(separator: UInt8(ascii: ".")).last ?? module, as: UTF8.self)
    let isEmbedding =
      ["wte", "wpe", "shared", "embedding"].contains(name) || name.hasSuffix("embeddings")
      || name.hasPrefix("embed_") && name != "embed_out"
    self = isEmbedding ? .embedding : .linear
  }
}
