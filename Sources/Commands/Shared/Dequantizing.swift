import Glibc
import Models

extension ModelCollection {
  /// The same models dequantised, with a warning for what is not. Fails where nothing is.
  func dequantized(for command: String) throws(Failure) -> ModelCollection {
    let (collection, warnings) = dequantized()
    for warning in warnings { printError("warning: \(warning)", command: command) }
    if let collection { return collection }
    let path = components.first?.model.shards.first?.file.path.printable ?? "the model"
    throw Failure(
      status: EX_DATAERR,
      "\(path): nothing to dequantise: no tensor is quantised in a way that is known; leave out --dequant")
  }
}
