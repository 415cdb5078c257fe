internal import Models
internal import SystemPackage

/// Narrow elements of another layout as float32.
struct WidenedElements: ComputedElements {
  let byteCount: UInt64
  private let widening: Widening
  private let narrow: FileLayout

  /// The number of widened bytes made at a time: they fit into the processor's cache, and are a multiple of every group.
  private static let step = 96 << 10

  /// Nil if the size overflows.
  init?(_ narrow: FileLayout, _ widening: Widening) {
    guard let count = widening.wideCount(of: narrow.byteCount) else { return nil }
    byteCount = count
    self.widening = widening
    self.narrow = narrow
  }

  func sources(of range: Range<UInt64>) -> [FileRange] {
    narrow.sources(of: widening.source(of: range).bytes)
  }

  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    let end = offset + UInt64(target.byteCount)
    let isAligned = target.isAligned && widening.source(of: offset..<end).excess == 0
    var position = offset
    var failure: Errno?
    unsafe withUnsafeTemporaryAllocation(byteCount: 2 * Self.step, alignment: 64) { scratch in
      // Wide elements are never shorter than narrow ones, so either half is large enough.
      let (first, second) = unsafe (scratch[..<Self.step], scratch[Self.step...])
      do throws(Errno) {
        while position < end {
          // All pieces except the last end at a group's end.
          let (whole, _) = widening.source(of: position..<position + 1)
          let start = widening.wideOffset(of: whole.lowerBound)
          let wide = position..<min(start + UInt64(Self.step), end)
          let (source, excess) = widening.source(of: wide)
          var narrow = unsafe MutableRawSpan(_unsafeBytes: first.prefix(Int(source.count)))
          try self.narrow.fill(&narrow, from: source.lowerBound)
          let place = Int(position - offset)..<Int(wide.upperBound - offset)
          var slot = target._mutatingExtracting(place)
          if isAligned, excess == 0, widening.wideOffset(of: source.upperBound) == wide.upperBound {
            _ = widening.widen(narrow.bytes, into: &slot)
          } else {
            var words = unsafe MutableRawSpan(_unsafeBytes: second)
            _ = widening.widen(narrow.bytes, into: &words)
            unsafe slot.withUnsafeMutableBytes { slot in
              unsafe slot.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: second.dropFirst(excess).prefix(place.count)))
            }
          }
          position = wide.upperBound
        }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }
}

extension MutableRawSpan {
  /// True if vectors of float32 can be stored here.
  fileprivate var isAligned: Bool {
    mutating get {
      unsafe withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) % 8 == 0 }
    }
  }
}
