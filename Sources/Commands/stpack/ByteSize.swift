/// A size as in huggingface_hub: a number with KB, MB, GB or TB, in powers of 1000. Also KiB, MiB, GiB and TiB, or K,
/// M, G and T, in powers of 1024, as in coreutils; without a unit, bytes.
struct ByteSize {
  let bytes: UInt64

  private static let units: [(suffix: String, bytes: Double)] = [
    ("KIB", 1024), ("MIB", 1_048_576), ("GIB", 1_073_741_824), ("TIB", 1_099_511_627_776),
    ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12),
    ("K", 1024), ("M", 1_048_576), ("G", 1_073_741_824), ("T", 1_099_511_627_776),
  ]

  /// Reads a size; nil if it is invalid, or less than a byte.
  init?(_ text: String) {
    let upper = text.uppercased()
    let unit = Self.units.first { upper.hasSuffix($0.suffix) }
    let number = text.dropLast(unit?.suffix.count ?? 0).reversed().drop { $0 == " " }.reversed()
    // No signs, exponents or other syntax of Double.
    guard !number.isEmpty, number.allSatisfy({ $0.isASCII && $0.isNumber || $0 == "." }),
      let value = Double(String(number)),
      let bytes = UInt64(exactly: (value * (unit?.bytes ?? 1)).rounded(.down)),
      bytes > 0
    else { return nil }
    self.bytes = bytes
  }
}
