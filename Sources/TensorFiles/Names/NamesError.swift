internal import Models
package import Safetensors

/// Names that are refused.
package enum NamesError: Error, Equatable, CustomStringConvertible {
  /// Two names would be one file, with this name in its directory: only possible if somebody crafted two names with the same
  /// hash.
  case collision(component: [UInt8])
  /// With this tensor, a model's names need more than ``TreeBuilder/maximumDirectories``.
  case tooManyDirectories(tensor: TensorName, limit: Int)

  /// One line for a message, safe to print.
  package var description: String {
    switch self {
    case .collision(let component):
      "two tensors would both be the file \(PrintableText.quoted(component)): their names are too long for a file name, "
        + "begin alike and have the same hash"
    case .tooManyDirectories(let tensor, let limit):
      "the names up to tensor \(tensor) need more than \(limit) directories; "
        + "use stls, stcat or stpack"
    }
  }
}
