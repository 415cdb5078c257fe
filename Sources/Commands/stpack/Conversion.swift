import Glibc
import Linux
import Models
import Safetensors
import TensorFiles

/// Which tensors are converted to another floating-point type: `--dtype TYPE` and `--dtype GLOB=TYPE`. The last match counts.
struct Conversion {
  /// One argument of the command line.
  private struct Rule {
    /// Nil for all tensors of the usual floating-point types.
    let pattern: NamePattern?
    let target: DType
  }

  private let rules: [Rule]
  private let saturates: Bool

  /// The types that an argument without a pattern converts. Values of 8 bits and fewer are meaningless by themselves: they
  /// have scales.
  private static let usual: Set<DType> = [.f64, .f32, .f16, .bf16]
  private static let targets: [String: DType] = ["f16": .f16, "bf16": .bf16, "f32": .f32]

  /// Reads the command line's arguments.
  init(_ arguments: [String], saturates: Bool) throws(Failure) {
    self.saturates = saturates
    var rules: [Rule] = []
    for argument in arguments {
      // The last sign: a pattern may hold one.
      let bytes = argument.argumentBytes
      let sign = bytes.lastIndex(of: UInt8(ascii: "="))
      let name = String(decoding: bytes[(sign.map { $0 + 1 } ?? 0)...], as: UTF8.self)
      guard let target = Self.targets[name.lowercased()] else {
        throw .usage(
          "--dtype \(PrintableText.quoted(bytes)): expected f16, bf16 or f32, or GLOB= and one of these",
          command: "stpack")
      }
      rules.append(Rule(pattern: sign.map { NamePattern(Array(bytes[..<$0])) }, target: target))
    }
    self.rules = rules
  }

  /// Throws if a pattern matches no tensor: that is a mistake of the user.
  func checkUse(by tensors: [PackedTensor]) throws(Failure) {
    for pattern in rules.compactMap(\.pattern) {
      guard tensors.contains(where: { pattern.matches(NamePattern.text(of: $0.originalName)) }) else {
        throw Failure(
          status: EX_NOINPUT, "no tensor's name matches --dtype \(PrintableText.quoted(pattern.bytes))=…")
      }
    }
  }

  /// The converted tensor. A tensor that a pattern matches and that cannot be converted is refused.
  func apply(to tensor: PackedTensor) throws(Failure) -> PackedTensor {
    guard !rules.isEmpty else { return tensor }
    let name = NamePattern.text(of: tensor.originalName)
    let dtype = tensor.tensor.dtype
    let rule = rules.last { $0.pattern.map { $0.matches(name) } ?? Self.usual.contains(dtype) }
    guard let rule, rule.target != dtype else { return tensor }
    guard dtype == .f32 || dtype == .f64 || dtype.widening != nil,
      let converted = tensor.converted(to: rule.target, saturating: saturates)
    else {
      throw Failure(
        status: EX_DATAERR,
        "--dtype: tensor \(tensor.originalName) is \(dtype.name), and only floating-point tensors can be converted to "
          + "\(rule.target.name); use a narrower pattern")
    }
    return converted
  }
}
