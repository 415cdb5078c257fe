internal import PyTorch
package import Safetensors

/// A tensor that a source names and the mount does not show.
package struct OmittedTensor: Sendable {
  /// The name that the tensor would have.
  package let name: TensorName
  /// Why the mount does not show it: a clause after the tensor's name; safe to print.
  package let reason: String
}

extension OmittedTensor {
  /// The tensors that the PyTorch library leaves out.
  static func all(of file: PyTorchFile) -> [OmittedTensor] {
    struct Cause: Hashable {
      var type: ElementType?
      var reason: Omission.Reason
    }
    // Tensors with the same reason share one string.
    var clauses: [Cause: String] = [:]
    return file.omissions.map { omission in
      let cause = Cause(type: omission.type, reason: omission.reason)
      let clause = clauses[cause] ?? omission.clause
      clauses[cause] = clause
      return OmittedTensor(name: TensorName(utf8: omission.name), reason: clause)
    }
  }
}

extension Omission {
  /// The reason as a clause after the tensor's name; safe to print.
  var clause: String {
    let type = type.map { " of \($0.rawValue)" } ?? ""
    switch reason {
    case .kind(.quantized): return "is a quantized tensor\(type) (save its dequantize())"
    case .kind(.sparse): return "is a sparse tensor\(type) (save its to_dense())"
    case .kind(.nested): return "is a nested tensor\(type) (save its unbind())"
    case .kind(.meta): return "is a meta tensor\(type), which has no elements"
    case .kind(.wrapped): return "is a tensor subclass without elements of its own"
    case .kind(.device): return "is a tensor\(type) of a device such as XLA (save its cpu())"
    case .kind(.inline): return "is a tensor\(type) whose elements are in the pickle, not in a storage"
    case .kind(.custom): return "is made by Python code that stmount does not execute"
    case .lazy: return "is a conjugated or negated tensor\(type) (save its resolve_conj().resolve_neg())"
    case .bareStorage: return "is a storage\(type), not a tensor"
    case .unnamed: return "is a tensor\(type) whose dictionary key cannot become a name (use a string)"
    case .deep: return "is nested too deeply to be searched for tensors"
    }
  }
}
