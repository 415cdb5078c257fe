import Glibc
import Models

extension ModelCollection {
  /// The same models dequantised, with a warning for what is not; nil where nothing is. Of several models, those that are
  /// not quantised stay as they are.
  func dequantizedIfQuantized(for command: String) -> ModelCollection? {
    let (collection, warnings) = dequantized(keepingOthers: true)
    for warning in warnings { printError("warning: \(warning)", command: command) }
    return collection
  }

  /// As ``dequantizedIfQuantized(for:)``. Fails where nothing is dequantised.
  func dequantized(for command: String) throws(Failure) -> ModelCollection {
    if let collection = dequantizedIfQuantized(for: command) { return collection }
    let path = components.first?.model.shards.first?.file.path.printable ?? "the model"
    throw Failure(
      status: EX_DATAERR,
      "\(path): nothing to dequantise: no tensor is quantised in a way that is known; leave out --dequant")
  }
}
