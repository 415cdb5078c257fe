/// The extra field of a zip header. Only the block with 64-bit sizes matters: APPNOTE 4.5.3.
struct ZipExtra {
  private static let zip64: UInt64 = 0x0001
  /// Info-ZIP's Unicode path: a second name, which some readers prefer.
  private static let unicodePath: UInt64 = 0x7075

  private var values: [UInt64] = []

  /// Nil if the field is not a sequence of blocks, or has a block that some readers interpret differently.
  init?(_ bytes: ArraySlice<UInt8>) {
    let bytes = Array(bytes)
    var position = 0
    var hasZip64 = false
    while position < bytes.count {
      guard bytes.count - position >= 4 else { return nil }
      let kind = littleEndian(bytes, at: position, count: 2)
      let count = Int(littleEndian(bytes, at: position + 2, count: 2))
      position += 4
      guard count <= bytes.count - position, kind != Self.unicodePath else { return nil }
      if kind == Self.zip64 {
        guard !hasZip64, count % 8 == 0, count <= 24 else { return nil }
        hasZip64 = true
        values = (0..<count / 8).reversed().map { littleEndian(bytes, at: position + 8 * $0, count: 8) }
      }
      position += count
    }
  }

  /// The value of a 32-bit header field. If the field is all ones, takes the next 64-bit value; nil if none
  /// is left.
  mutating func value(for field: UInt64) -> UInt64? {
    field == UInt64(UInt32.max) ? values.popLast() : field
  }

  /// True if every 64-bit value has been taken.
  var isUsedUp: Bool { values.isEmpty }

  /// True if the 64-bit values are exactly those of `numbers` that do not fit into 32 bits. The value at
  /// index `zeroed` must be 0 instead.
  func isEqual(to numbers: [UInt64], zeroed: Int? = nil) -> Bool {
    let large = numbers.enumerated().filter { $0.element >= UInt64(UInt32.max) }
    return values.reversed().elementsEqual(large.map { $0.offset == zeroed ? 0 : $0.element })
  }
}
