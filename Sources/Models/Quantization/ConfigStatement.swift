internal import Safetensors

/// What one file beside a model says about its quantisation.
struct ConfigStatement {
  /// The file's name.
  let file: String
  /// The quantisation method, in lower case.
  let method: String
  let settings: ConfigValue

  /// The settings that affect the numbers, each with the names that writers use for it.
  private static let decisive = [
    ["bits", "w_bit"], ["group_size", "q_group_size"], ["checkpoint_format", "format"], ["version"], ["sym"],
    ["zero_point"], ["quant_algo"],
  ]

  /// The first contradiction to another file of the same model, as a clause that is safe to print; nil if
  /// there is none. A setting that only one file has is no contradiction.
  func contradiction(to other: ConfigStatement) -> String? {
    if family != other.family { return clause("quant_method", method, other, other.method) }
    for names in Self.decisive {
      guard let (name, own) = value(of: names), let (_, others) = other.value(of: names), own != others
      else { continue }
      return clause(name, own, other, others)
    }
    return nil
  }

  /// The family of the method. Each unknown method is a family of its own.
  private var family: String {
    QuantizationConfig.families[method].map { "\($0)" } ?? PrintableText.quoted(method)
  }

  private func value(of names: [String]) -> (name: String, text: String)? {
    for name in names { if let text = settings[name]?.scalar { return (name, text) } }
    return nil
  }

  private func clause(_ name: String, _ own: String, _ other: ConfigStatement, _ others: String) -> String {
    "\(file) says \(name) \(PrintableText.quoted(own)), but \(other.file) says \(PrintableText.quoted(others))"
  }
}

extension ConfigValue {
  /// A number, string or boolean as lower-case text; nil for anything else.
  fileprivate var scalar: String? {
    switch self {
    case .bool(let value): value ? "true" : "false"
    case .number(let text), .string(let text): text.lowercased()
    case .null, .array, .object: nil
    }
  }
}
