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
  /// Tensors that are left out; many of them share a reason.
  struct List {
    private(set) var tensors: [OmittedTensor] = []

    mutating func append(_ name: ArraySlice<UInt8>, _ reason: String) {
      tensors.append(OmittedTensor(name: TensorName(utf8: name), reason: reason))
    }
  }

  /// The tensors that the PyTorch library leaves out.
  static func list(of file: PyTorchFile) -> List {
    struct Cause: Hashable {
      var type: ElementType?
      var reason: Omission.Reason
    }
    var list = List()
    // Made once for each reason, however many tensors there are.
    var clauses: [Cause: String] = [:]
    for omission in file.omissions {
      let cause = Cause(type: omission.type, reason: omission.reason)
      let clause = clauses[cause] ?? omission.clause
      clauses[cause] = clause
      list.append(omission.name, clause)
    }
    return list
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
