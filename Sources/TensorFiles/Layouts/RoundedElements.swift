internal import Models
package import Safetensors
internal import Synchronization
internal import SystemPackage

/// The number of values beyond the largest of a type, during a conversion to it.
package final class OverflowCount: Sendable {
  private let atomic = Atomic<Int>(0)

  /// Nothing was counted yet.
  package init() {}

  /// The number so far.
  package var count: Int { atomic.load(ordering: .relaxed) }

  func add(_ count: Int) { if count > 0 { atomic.add(count, ordering: .relaxed) } }
}

/// The elements of another layout, float32 or float64, rounded to a narrower type.
struct RoundedElements: ComputedElements {
  let byteCount: UInt64
  private let wide: FileLayout
  private let rounding: Rounding
  private let overflows: OverflowCount

  /// The number of elements rounded at a time: they fit into the processor's cache, and are what is dequantised at a time.
  private static let step = 32 << 10

  init(_ wide: FileLayout, _ rounding: Rounding, _ overflows: OverflowCount) {
    byteCount = wide.byteCount / UInt64(rounding.sourceSize) * UInt64(rounding.targetSize)
    self.wide = wide
    self.rounding = rounding
    self.overflows = overflows
  }

  func sources(of range: Range<UInt64>) -> [FileRange] {
    let (size, wideSize) = (UInt64(rounding.targetSize), UInt64(rounding.sourceSize))
    return wide.sources(
      of: range.lowerBound / size * wideSize..<(range.upperBound + size - 1) / size * wideSize)
  }

  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    let end = offset + UInt64(target.byteCount)
    let (size, wideSize) = (rounding.targetSize, rounding.sourceSize)
    var failure: Errno?
    unsafe withUnsafeTemporaryAllocation(byteCount: Self.step * (wideSize + size), alignment: 64) { scratch in
      let (first, second) = unsafe (scratch[..<(Self.step * wideSize)], scratch[(Self.step * wideSize)...])
      do throws(Errno) {
        var position = offset
        while position < end {
          let element = position / UInt64(size)
          let count = Int(min(UInt64(Self.step), (end + UInt64(size) - 1) / UInt64(size) - element))
          var source = unsafe MutableRawSpan(_unsafeBytes: first.prefix(count * wideSize))
          try wide.fill(&source, from: element * UInt64(wideSize))
          guard let from = unsafe UnsafeRawBufferPointer(rebasing: first).baseAddress,
            let rounded = unsafe UnsafeMutableRawBufferPointer(rebasing: second).baseAddress
          else { return }
          let skipped = Int(position - element * UInt64(size))
          let copied = min(count * size - skipped, Int(end - position))
          var slot = target._mutatingExtracting(Int(position - offset)..<Int(position - offset) + copied)
          unsafe slot.withUnsafeMutableBytes { slot in
            // Whole elements are written in place, partial ones through a buffer.
            if let place = slot.baseAddress, copied == count * size, UInt(bitPattern: place) % UInt(size) == 0
            {
              overflows.add(unsafe rounding.round(from, place, count))
              return
            }
            overflows.add(unsafe rounding.round(from, rounded, count))
            unsafe slot.copyMemory(
              from: UnsafeRawBufferPointer(rebasing: second.dropFirst(skipped).prefix(copied)))
          }
          position += UInt64(copied)
        }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }
}

extension FileLayout {
  /// This layout's elements as another floating-point type: F16, BF16 or F32. Nil if `source` cannot be converted to it, or
  /// the size overflows. Values beyond the largest are counted during reads.
  package func converted(
    from source: DType, to target: DType, saturating: Bool, counting overflows: OverflowCount
  ) -> FileLayout? {
    guard [.f16, .bf16, .f32].contains(target) else { return nil }
    if source == target { return self }
    if source == .f64 {
      return rounded(
        Rounding(isDouble: true, target: target, hasPlainNaN: false, saturates: saturating), overflows)
    }
    var wide = self
    if let widening = source.widening {
      guard let elements = WidenedElements(self, widening), let layout = FileLayout([.computed(elements)])
      else {
        return nil
      }
      wide = layout
    } else if source != .f32 {
      return nil
    }
    if target == .f32 { return wide }
    return wide.rounded(
      Rounding(isDouble: false, target: target, hasPlainNaN: source != .f32, saturates: saturating), overflows
    )
  }

  private func rounded(_ rounding: Rounding, _ overflows: OverflowCount) -> FileLayout? {
    FileLayout([.computed(RoundedElements(self, rounding, overflows))])
  }
}
