/// The bytes of a box in the whole that it is cut from, both in row-major order: runs that are equally long.
///
/// The box's own bytes are those runs, one after the other.
struct BoxRuns: Sendable {
  /// A dimension of the box over which the runs are repeated.
  private struct Axis: Sendable {
    var count: UInt64
    /// How many bytes of the whole from one to the next.
    var stride: UInt64
  }

  /// Where the first run begins in the whole, in bytes.
  let first: UInt64
  /// How many bytes each run has.
  let length: UInt64
  /// How many runs there are.
  let count: UInt64
  /// Outermost first.
  private let axes: [Axis]

  /// Of a box inside `whole`, with elements of so many bits; nil if a run does not begin or end at a byte. The size of the
  /// whole in bits fits into 64.
  init?(start: [UInt64], shape: ArraySlice<UInt64>, in whole: [UInt64], bits: UInt64) {
    var stride = bits
    var first: UInt64 = 0
    var run = bits
    var count: UInt64 = 1
    var isRun = true
    var axes: [Axis] = []
    for (dimension, extent) in shape.reversed().enumerated() {
      let index = whole.count - 1 - dimension
      first += start[index] * stride
      if isRun {
        run *= extent
        // Only where the box has all of a dimension does the next index follow.
        isRun = extent == whole[index]
      } else if extent != 1 {
        if let last = axes.last, last.count * last.stride == stride {
          axes[axes.count - 1].count *= extent
        } else {
          axes.append(Axis(count: extent, stride: stride))
        }
        count *= extent
      }
      stride *= whole[index]
    }
    guard first % 8 == 0, run % 8 == 0, axes.allSatisfy({ $0.stride % 8 == 0 }) else { return nil }
    self.first = first / 8
    length = run / 8
    self.count = count
    self.axes = axes.reversed().map { Axis(count: $0.count, stride: $0.stride / 8) }
  }

  /// Where a run begins in the whole.
  func offset(of run: UInt64) -> UInt64 {
    var rest = run
    var offset = first
    for axis in axes.reversed() {
      offset += rest % axis.count * axis.stride
      rest /= axis.count
    }
    return offset
  }

  /// The number of runs that begin before a byte of the whole.
  private func runs(before offset: UInt64) -> UInt64 {
    guard offset > first else { return 0 }
    var rest = offset - first
    var index: UInt64 = 0
    for (position, axis) in axes.enumerated() {
      let step = min(rest / axis.stride, axis.count)
      index = index * axis.count + step
      if step == axis.count {
        return axes[(position + 1)...].reduce(index) { $0 * $1.count }
      }
      rest -= step * axis.stride
    }
    return rest > 0 ? index + 1 : index
  }

  /// The runs that have bytes in a part of the whole.
  func runs(in range: Range<UInt64>) -> Range<UInt64> {
    let end = runs(before: range.upperBound)
    // Those that end before the part begins in a place before that.
    let beginning = range.lowerBound >= length ? runs(before: range.lowerBound - length + 1) : 0
    return min(beginning, end)..<end
  }

  /// The part of a run that is in `range`, which it touches, in bytes of the run.
  func part(of run: UInt64, in range: Range<UInt64>) -> Range<UInt64> {
    let start = offset(of: run)
    let part = range.clamped(to: start..<start + length)
    return part.lowerBound - start..<part.upperBound - start
  }

  /// The bytes of the box itself that are in a part of the whole: one range, since both have the same order.
  func bytes(in range: Range<UInt64>) -> Range<UInt64> {
    let runs = runs(in: range)
    guard let last = runs.last else { return 0..<0 }
    return runs.lowerBound * length + part(of: runs.lowerBound, in: range).lowerBound..<last * length
      + part(of: last, in: range).upperBound
  }
}
