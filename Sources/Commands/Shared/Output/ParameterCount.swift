import Models
import Safetensors

/// How many parameters a model has, in all and by dtype.
struct ParameterCount {
  private let counts: [(dtype: DType, count: UInt64)]

  /// Counts the elements of tensors. Sums beyond 64 bits stop there.
  init(_ tensors: [Tensor]) {
    var counts: [DType: UInt64] = [:]
    for tensor in tensors {
      counts[tensor.dtype] = [counts[tensor.dtype] ?? 0, Self.elements(of: tensor)].clampedSum
    }
    self.counts = counts.map { ($0.key, $0.value) }
      .sorted { ($1.count, $0.dtype.name) < ($0.count, $1.dtype.name) }
  }

  private static func elements(of tensor: Tensor) -> UInt64 {
    let bits = tensor.byteCount.multipliedFullWidth(by: 8)
    guard bits.high < tensor.dtype.bitSize else { return .max }
    return tensor.dtype.bitSize.dividingFullWidth(bits).quotient
  }

  /// One line, such as `22.7M parameters: F32 22.6M, I64 512`.
  var text: String {
    let total = counts.lazy.map(\.count).clampedSum
    let parts = counts.map { "\($0.dtype.name) \(Self.short($0.count))" }
    return "\(Self.short(total)) parameter\(total == 1 ? "" : "s")"
      + (parts.isEmpty ? "" : ": " + parts.joined(separator: ", "))
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
