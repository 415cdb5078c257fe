internal import PyTorch
package import Safetensors

/// A tensor that a source names and a mount does not show.
package struct OmittedTensor: Sendable {
  /// The name it would have.
  package let name: TensorName
  /// Why it is not shown, as a clause; safe to print.
  package let reason: String
}

extension OmittedTensor {
  /// The tensors that the PyTorch library leaves out.
  static func all(of file: PyTorchFile) -> [OmittedTensor] {
    struct Cause: Hashable {
      var type: ElementType?
      var reason: Omission.Reason
    }
    // Made once for each reason, however many tensors there are.
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
  fileprivate var clause: String {
    let type = type.map { " of \($0.rawValue)" } ?? ""
    switch reason {
    case .kind(.custom): return "is a tensor that a function of its own makes"
    case .kind(.inline): return "is a tensor\(type) whose elements are in the pickle"
    case .kind(let kind): return "is a \(kind) tensor" + type
    case .lazy: return "is a tensor\(type) whose elements are conjugated or negated when they are used"
    case .bareStorage: return "is a storage\(type) and no tensor"
    case .unnamed: return "is a tensor\(type) under a key that makes no name"
    case .deep: return "is nested so deep that it was not looked into"
    }
  }
}
