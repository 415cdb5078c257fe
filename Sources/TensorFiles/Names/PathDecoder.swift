internal import Models
package import Safetensors

/// The way back from a path that ``PathEncoder`` or a view made, as far as a path alone tells it.
package enum PathDecoder {
  /// Why a path tells no name, as a clause; safe to print.
  package struct Problem: Error {
    /// The clause.
    package let problem: String
  }

  /// The name of the tensor whose path this is, the view's suffix taken off.
  ///
  /// In what was made by a mount each `%` begins an escape, or is a component by itself. A component in which one does
  /// not was made by somebody else, and stands for itself.
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
