import Models
import Safetensors

/// How many parameters a model has, and how many elements its tensors have by dtype.
///
/// In a model that is not quantised, both are the same number. The codes and scales of a quantised weight are no parameters; they
/// stand for some.
struct ParameterCount {
  private let counts: [(dtype: DType, count: UInt64)]
  /// How many parameters there are; nil if that is not known.
  private let parameters: UInt64?
  /// The sum of ``counts``.
  private let elements: UInt64

  /// Counts the elements of tensors that are not quantised, or that stand for `dequantized` ones. Sums beyond 64 bits stop there.
  init(_ tensors: [Tensor], standingFor dequantized: [Tensor]? = nil) {
    self.init(tensors, parameters: Self.elements(of: dequantized ?? tensors))
  }

  /// Counts elements alone, of tensors that may be quantised.
  init(elementsOf tensors: [Tensor]) { self.init(tensors, parameters: nil) }

  /// Counts the elements of a model's tensors as they are stored, and the parameters that they stand for: those of the dequantised
  /// model. They are not known if a part of it is in doubt, or is not here.
  init(_ tensors: [Tensor], of model: Model) {
    let quantization = Quantization(of: model)
    guard quantization.warnings.isEmpty else {
      self.init(elementsOf: tensors)
      return
    }
    let dequantized = Model(dequantizing: model, quantization)
    self.init(tensors, standingFor: dequantized.map { model in model.places.map(model.tensor) })
  }

  private init(_ tensors: [Tensor], parameters: UInt64?) {
    var counts: [DType: UInt64] = [:]
    for tensor in tensors {
      counts[tensor.dtype] = [counts[tensor.dtype] ?? 0, Self.elements(of: tensor)].clampedSum
    }
    self.counts = counts.map { ($0.key, $0.value) }
      .sorted { ($1.count, $0.dtype.name) < ($0.count, $1.dtype.name) }
    self.parameters = parameters
    elements = self.counts.lazy.map(\.count).clampedSum
  }

  private static func elements(of tensors: [Tensor]) -> UInt64 {
    tensors.lazy.map { elements(of: $0) }.clampedSum
  }

  private static func elements(of tensor: Tensor) -> UInt64 {
    let bits = tensor.byteCount.multipliedFullWidth(by: 8)
    guard bits.high < tensor.dtype.bitSize else { return .max }
    return tensor.dtype.bitSize.dividingFullWidth(bits).quotient
  }

  /// One line, such as `22.7M parameters: F32 22.6M, I64 512`, or `7.24B parameters in 1.13B elements: I32 905M, F16 226M`, or only
  /// the elements.
  var text: String {
    let numbers = [
      parameters.map { Self.counted($0, "parameter") },
      parameters == elements ? nil : Self.counted(elements, "element"),
    ]
    let parts = counts.map { "\($0.dtype.name) \(Self.short($0.count))" }
    return numbers.compactMap { $0 }.joined(separator: " in ")
      + (parts.isEmpty ? "" : ": " + parts.joined(separator: ", "))
  }

  private static func counted(_ count: UInt64, _ noun: String) -> String {
    "\(short(count)) \(noun)\(count == 1 ? "" : "s")"
  }

  /// A number in at most five characters: below 10,000 as it is, else with three digits, rounded, and K, M, B or T.
  static func short(_ number: UInt64) -> String {
    guard number >= 10_000 else { return String(number) }
    var value = Double(number)
    var letters = Substring("KMBT")
    value /= 1000
    while value >= 999.5, letters.count > 1 {
      value /= 1000
      letters = letters.dropFirst()
    }
    let decimals = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
    let scale = [1.0, 10, 100][decimals]
    let digits = String(Int((value * scale).rounded()))
    let text = decimals == 0 ? digits : digits.dropLast(decimals) + "." + digits.suffix(decimals)
    return text + String(letters.prefix(1))
  }
}
