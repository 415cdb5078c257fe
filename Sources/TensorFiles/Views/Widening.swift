/// Converts narrow floating-point elements to float32, exactly.
///
/// Elements narrower than a byte are packed without gaps from the lowest bit of each byte up. For F4 that is the
/// order of PyTorch's float4_e2m1fn_x2. For the 6-bit types no standard defines a packing; four elements in three
/// bytes are this project's convention.
package struct Widening: Sendable {
  /// The elements' format.
  enum Format: Sendable {
    /// The upper half of a float32.
    case bfloat16
    /// binary16 of IEEE 754.
    case half
    /// At most 8 bits wide.
    case small(SmallFloat)
  }

  /// The smallest number of elements that fill whole bytes: a group.
  private let groupElements: UInt64
  /// The size of a group.
  private let groupBytes: UInt64
  private let loop: WideningLoop

  init(_ format: Format) {
    switch format {
    case .bfloat16:
      (groupElements, groupBytes) = (1, 2)
      loop = .bfloat16
    case .half:
      (groupElements, groupBytes) = (1, 2)
      loop = .half
    case .small(let float):
      switch float.bitCount {
      case 4:
        (groupElements, groupBytes) = (2, 1)
        loop = .nibbles(Self.pairs(float.table))
      case 6:
        (groupElements, groupBytes) = (4, 3)
        loop = .sixes(float.table)
      default:
        (groupElements, groupBytes) = (1, 1)
        loop = .bytes(float.table)
      }
    }
  }

  /// The two float32 in each byte of two 4-bit elements.
  private static func pairs(_ table: [UInt32]) -> [UInt64] {
    (0..<256).map { UInt64(table[$0 & 15]) | UInt64(table[$0 >> 4]) << 32 }
  }

  /// The size of a group, widened.
  private var wideGroupBytes: UInt64 { groupElements * 4 }

  /// The size of `count` bytes, widened; nil if that overflows. Bytes of an incomplete group, which a valid
  /// tensor does not have, are left out.
  package func wideCount(of count: UInt64) -> UInt64? {
    let (wide, overflow) = (count / groupBytes).multipliedReportingOverflow(by: wideGroupBytes)
    return overflow ? nil : wide
  }

  /// The offset of the widened elements for narrow bytes at `offset`, where a group begins.
  func wideOffset(of offset: UInt64) -> UInt64 { offset / groupBytes * wideGroupBytes }

  /// The narrow bytes that `wide`, a range of widened bytes, needs, and the number of widened bytes before it.
  package func source(of wide: Range<UInt64>) -> (bytes: Range<UInt64>, excess: Int) {
    let first = wide.lowerBound / wideGroupBytes
    let end = (wide.upperBound + wideGroupBytes - 1) / wideGroupBytes
    return (first * groupBytes..<end * groupBytes, Int(wide.lowerBound - first * wideGroupBytes))
  }

  /// Widens the whole groups of `source` that fit into the target; returns the number of bytes written.
  ///
  /// `source` is aligned to 2 bytes, `target` to 8.
  package func widen(_ source: RawSpan, into target: inout MutableRawSpan) -> Int {
    let groups = min(source.byteCount / Int(groupBytes), target.byteCount / Int(wideGroupBytes))
    // Safe, since these are plain bytes and the loops access only `groups`.
    unsafe source.withUnsafeBytes { source in
      unsafe target.withUnsafeMutableBytes { target in
        guard let source = source.baseAddress, let target = target.baseAddress else { return }
        unsafe loop.run(source, target, groups)
      }
    }
    return groups * Int(wideGroupBytes)
  }
}
