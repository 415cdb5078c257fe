import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

extension ModelCollection {
  /// Dequantises the models, and prints warnings about tensors that cannot be dequantised. Nil if nothing was dequantised. Of
  /// several models, those that are not quantised are kept.
  func dequantizedIfQuantized(for command: String) throws(Failure) -> ModelCollection? {
    try dequantizing(for: command).collection
  }

  private func dequantizing(for command: String) throws(Failure) -> (
    collection: ModelCollection?, hasWarnings: Bool
  ) {
    // Even where the tensors alone tell the format: the configuration may have given other blocks.
    if let hint = components.lazy.compactMap(\.model.dequantizedMount).first { throw Failure(hint) }
    let (collection, warnings) = dequantized(keepingOthers: true)
    for warning in warnings { printError("warning: \(warning)", command: command) }
    return (collection, !warnings.isEmpty)
  }

  /// As ``dequantizedIfQuantized(for:)``, but fails if nothing was dequantised.
  func dequantized(for command: String) throws(Failure) -> ModelCollection {
    let (collection, hasWarnings) = try dequantizing(for: command)
    if let collection { return collection }
    let path = components.first?.model.shards.first?.file.path.printable ?? "the model"
    throw Failure(
      status: EX_DATAERR,
      "\(path): "
        + (hasWarnings
          ? "no tensor can be dequantised, see the warnings; leave out --dequant"
          : "nothing to dequantise: no tensor is quantised in a supported format; leave out --dequant"))
  }
}

extension Model {
  /// The refusal of `--dequant` for a mount, which lacks the configuration of its model and has `.dequant`. Nil for other models.
  fileprivate var dequantizedMount: ModelError? {
    guard let shard = shards.first, shard.format == .directory else { return nil }
    return TensorDirectory.dequantizedMount(shard.file.path.removingLastComponent())
  }
}

extension TensorDirectory {
  /// The refusal of `--dequant` for the mount at a path. Nil if it has no `.dequant`.
  static func dequantizedMount(_ path: FilePath) -> ModelError? {
    let other = path.pushing(FilePath(bytes: ViewedTree.dequantizedDirectory))
    guard (try? Stat(other).type) == .directory else { return nil }
    return ModelError(
      .malformed, path,
      "it is a mount, which shows the dequantised model itself: name \(other.printable), and leave out --dequant"
    )
  }
}
