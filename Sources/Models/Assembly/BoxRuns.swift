/// The bytes of the whole tensor that belong to a box, as runs of equal length.
///
/// The box and the whole tensor are in row-major order, so the box's own bytes are these runs in the same order.
struct BoxRuns: Sendable {
  /// A dimension of the box over which the runs repeat.
  private struct Axis: Sendable {
    var count: UInt64
    /// The distance between neighbours in the whole tensor, in bytes.
    var stride: UInt64
  }

  /// The offset of the first run in the whole tensor, in bytes.
  let first: UInt64
  /// The length of each run, in bytes.
  let length: UInt64
  /// The number of runs.
  let count: UInt64
  /// Outermost first.
  private let axes: [Axis]

  /// The runs of a box inside a tensor of shape `whole`, with elements of `bits` bits; nil if a run begins or ends inside a
  /// byte. The size of the whole tensor in bits must fit into 64 bits.
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
        // The run continues in the next outer dimension only if the box covers all of this one.
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

  /// The offset of a run in the whole tensor, in bytes.
  func offset(of run: UInt64) -> UInt64 {
    var rest = run
    var offset = first
    for axis in axes.reversed() {
      offset += rest % axis.count * axis.stride
      rest /= axis.count
    }
    return offset
  }

  /// The number of runs that begin before byte `offset` of the whole tensor.
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

  /// The runs that have bytes in a range of the whole tensor.
  func runs(in range: Range<UInt64>) -> Range<UInt64> {
    let end = runs(before: range.upperBound)
    // The number of runs that end before the range.
    let beginning = range.lowerBound >= length ? runs(before: range.lowerBound - length + 1) : 0
    return min(beginning, end)..<end
  }

  /// The bytes of a run that lie in `range`, counted from the run's beginning. The run must have bytes there.
  func part(of run: UInt64, in range: Range<UInt64>) -> Range<UInt64> {
    let start = offset(of: run)
    let part = range.clamped(to: start..<start + length)
    return part.lowerBound - start..<part.upperBound - start
  }

  /// The box's own bytes that lie in a range of the whole tensor. They are one range, since both have the same order.
  func bytes(in range: Range<UInt64>) -> Range<UInt64> {
    let runs = runs(in: range)
    guard let last = runs.last else { return 0..<0 }
    return runs.lowerBound * length + part(of: runs.lowerBound, in: range).lowerBound..<last * length
      + part(of: last, in: range).upperBound
  }
}
