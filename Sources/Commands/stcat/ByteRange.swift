/// Bytes A to B of a file, B excluded: `--range A:B`. A defaults to 0, and B to the file's size.
struct ByteRange {
  private let start: UInt64
  private let end: UInt64?

  /// What is wrong with an argument that ``init(_:)`` does not take.
  static let problem = "expected A:B with A not above B, such as 0:32, 32: or :32"

  /// Reads a range; nil if it is invalid.
  init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    func number(_ text: Substring) -> UInt64? { text.allSatisfy(\.isNumber) ? UInt64(text) : nil }
    guard parts.count == 2, let start = parts[0].isEmpty ? 0 : number(parts[0]) else { return nil }
    let end = number(parts[1])
    guard parts[1].isEmpty || (end ?? 0) >= start && end != nil else { return nil }
    self.start = start
    self.end = end
  }

  /// The bytes of a file of this size.
  func clamped(to byteCount: UInt64) -> Range<UInt64> {
    let start = min(start, byteCount)
    return start..<max(start, min(end ?? byteCount, byteCount))
  }
}
