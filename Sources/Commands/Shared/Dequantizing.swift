import Glibc
import Models

extension ModelCollection {
  /// Dequantises the models, and prints warnings about tensors that cannot be dequantised. Nil if nothing was dequantised. Of
  /// several models, those that are not quantised are kept.
  func dequantizedIfQuantized(for command: String) -> ModelCollection? {
    let (collection, warnings) = dequantized(keepingOthers: true)
    Self.print(warnings, command)
    return collection
  }

  private static func print(_ warnings: [String], _ command: String) {
    for warning in warnings { printError("warning: \(warning)", command: command) }
  }

  /// As ``dequantizedIfQuantized(for:)``, but fails if nothing was dequantised.
  func dequantized(for command: String) throws(Failure) -> ModelCollection {
    let (collection, warnings) = dequantized(keepingOthers: true)
    Self.print(warnings, command)
    if let collection { return collection }
    let path = components.first?.model.shards.first?.file.path.printable ?? "the model"
    throw Failure(
      status: EX_DATAERR,
      "\(path): "
        + (warnings.isEmpty
          ? "nothing to dequantise: no tensor is quantised in a supported format; leave out --dequant"
          : "no tensor can be dequantised, see the warnings; leave out --dequant"))
  }
}
