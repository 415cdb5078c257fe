import Models
import Safetensors
import TensorFiles

/// The order in which a model's tensors are listed.
enum Order: String, CaseIterable {
  case name, size, offset

  /// The tensors of a mount or a copy in this order. They are given in the order of their names, and have no offsets.
  func tensors(of files: [Tensor]) -> [Tensor] {
    self == .size ? files.sorted { $0.byteCount > $1.byteCount } : files
  }

  /// The places of the model's tensors in this order.
  func places(of model: Model) -> [Model.Place] {
    switch self {
    case .name: return model.places
    case .size:
      // Equal sizes in the order of names: the sort is stable.
      let sizes = model.places.map { ($0, model.tensor(at: $0).byteCount) }
      return sizes.sorted { $0.1 > $1.1 }.map(\.0)
    case .offset:
      func key(_ place: Model.Place) -> (Int32, UInt64, UInt64) {
        let range = model.tensor(at: place).dataRange
        return (place.shard, range.lowerBound, range.upperBound)
      }
      return model.places.sorted { key($0) < key($1) }
    }
  }
}
