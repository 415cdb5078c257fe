internal import Models
package import Safetensors

/// Decodes paths of ``PathEncoder`` and of views, as far as the path alone determines the name.
package enum PathDecoder {
  /// Why a path has no name, as a clause; safe to print.
  package struct Problem: Error {
    /// The clause.
    package let problem: String
  }

  /// The name of the tensor with this path, from which the view's suffix was removed.
  ///
  /// In a mount's path each `%` begins an escape, or is a component by itself. A component with another `%` was not made
  /// by a mount, and is kept as it is.
  package static func name(of path: some Collection<UInt8>) throws(Problem) -> TensorName {
    var name: [UInt8] = []
    let components = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    for (position, component) in components.enumerated() {
      if position > 0 { name.append(UInt8(ascii: "/")) }
      name += try decode(Array(component))
    }
    guard String(validating: name, as: UTF8.self) != nil else {
      throw Problem(problem: "its name is not UTF-8, as a tensor's must be")
    }
    return TensorName(utf8: name[...])
  }

  private static let percent = UInt8(ascii: "%")

  private static func decode(_ component: [UInt8]) throws(Problem) -> [UInt8] {
    guard component.contains(percent) else { return component }
    if component == [percent] { return [] }
    if CutName.hash(in: component) != nil {
      throw Problem(problem: "its name was too long for a path and was cut; pack the mount itself")
    }
    var decoded: [UInt8] = []
    var rest = component[...]
    while let byte = rest.popFirst() {
      guard byte == percent else {
        decoded.append(byte)
        continue
      }
      guard let high = digit(rest.popFirst()), let low = digit(rest.popFirst()) else { return component }
      decoded.append(high << 4 | low)
    }
    return decoded
  }

  /// The value of a digit as the encoder writes it, in upper case.
  private static func digit(_ byte: UInt8?) -> UInt8? {
    switch byte {
    case .some(UInt8(ascii: "0")...UInt8(ascii: "9")): byte.map { $0 - UInt8(ascii: "0") }
    case .some(UInt8(ascii: "A")...UInt8(ascii: "F")): byte.map { $0 - UInt8(ascii: "A") + 10 }
    default: nil
    }
  }
}
