/// A file name that says which part of a split it is, such as `model-00002-of-00005.safetensors`.
///
/// The two numbers may be anywhere in the name: `model_00002-of-00072.safetensors`,
/// `model.fp16-00001-of-00002.safetensors`, `model.safetensors-00001-of-00001.safetensors`.
package struct ShardName {
  /// What all parts of one split share: the text around the number, and how many parts there are.
  package struct Split: Hashable {
    package var prefix: String
    /// The number of parts, as the names spell it.
    package var totalDigits: String
    package var suffix: String

    /// The number of parts.
    package var total: Int { Int(totalDigits) ?? 0 }
  }

  /// The split that the file is a part of.
  package let split: Split
  /// The part's number; splits count from 1, a few from 0.
  package let number: Int
  /// How many digits the name spells it with.
  package let numberWidth: Int

  /// Reads a file name; nil if it does not name a part of a split.
  package init?(_ fileName: [UInt8]) {
    let separator = Array("-of-".utf8)
    guard fileName.count > separator.count, let name = String(validating: fileName, as: UTF8.self) else {
      return nil
    }
    let parts = Array(name.utf8)
    // The last occurrence: the text before it is arbitrary.
    for start in (1...parts.count - separator.count).reversed()
    where parts[start...].starts(with: separator) {
      let end = start + separator.count
      let number = parts[..<start].reversed().prefix(while: Self.isDigit).reversed()
      let total = parts[end...].prefix(while: Self.isDigit)
      guard let numberValue = Self.value(number), Self.value(total) != nil else { continue }
      split = Split(
        prefix: String(decoding: parts[..<(start - number.count)], as: UTF8.self),
        totalDigits: String(decoding: total, as: UTF8.self),
        suffix: String(decoding: parts[(end + total.count)...], as: UTF8.self))
      self.number = numberValue
      numberWidth = number.count
      return
    }
    return nil
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
  }

  /// A part's number, padded with zeros; writers use five digits.
  package static func padded(_ number: Int, to width: Int = 5) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }

  /// The value of some digits; nil if there are none, or more than a split can have.
  private static func value(_ digits: some Collection<UInt8>) -> Int? {
    guard digits.count <= 9 else { return nil }
    return Int(String(decoding: digits, as: UTF8.self))
  }
}

extension ShardName.Split {
  /// The split for messages: `model-*-of-00005.safetensors`.
  package var pattern: String { PrintableText.quoted(name(of: "*")) }

  /// The name of a part, with its number spelled like this.
  package func name(of number: String) -> String { "\(prefix)\(number)-of-\(totalDigits)\(suffix)" }

  /// The name of a part, its number padded with zeros to a width.
  package func name(of number: Int, width: Int) -> String { name(of: ShardName.padded(number, to: width)) }

  /// The first missing number of 1 to ``total``, or nil. A split that counts from 0 is complete
  /// too.
  package func firstMissing(from numbers: Set<Int>) -> Int? {
    if numbers.contains(0), numbers.count >= total { return nil }
    guard total > 0 else { return nil }
    return (1...total).first { !numbers.contains($0) }
  }
}
