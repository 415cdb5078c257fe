import Linux
import Models
import Safetensors
import TensorFiles

/// The order in which a model's tensors are listed.
enum Order: String, CaseIterable {
  case name, size, offset

  /// The model's tensors in this order.
  func tensors(of model: Model) -> [Tensor] {
    switch self {
    case .name: return model.places.map(model.tensor)
    case .size:
      // Equal sizes in the order of names: the sort is stable.
      return model.places.map(model.tensor).sorted { $0.byteCount > $1.byteCount }
    case .offset:
      func key(_ place: Model.Place) -> (Int32, UInt64, UInt64) {
        let range = model.tensor(at: place).dataRange
        return (place.shard, range.lowerBound, range.upperBound)
      }
      return model.places.sorted { key($0) < key($1) }.map(model.tensor)
    }
  }
}
