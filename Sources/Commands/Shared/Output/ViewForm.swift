import ArgumentParser
import Models
import Safetensors
import TensorFiles

/// The form that tensors are written in: `--as`.
enum ViewForm: String, CaseIterable, ExpressibleByArgument {
  case raw, npy, f32, safetensors

  /// The view of a mount that has its files in this form.
  var view: View {
    switch self {
    case .raw: .raw
    case .npy: .npy
    case .f32: .f32
    case .safetensors: .safetensors
    }
  }
}
