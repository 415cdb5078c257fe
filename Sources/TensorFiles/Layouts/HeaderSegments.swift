internal import Models
package import Safetensors
internal import SystemPackage

extension HeaderWriter {
  /// With more dimensions than this, only the requested bytes of a shape's text are computed. PyTorch and NumPy have at most
  /// 64.
  private static let longShape = 64

  /// The header of a file with one tensor, as segments of a layout.
  package func segments(alone tensor: Tensor) -> [FileLayout.Segment] {
    guard tensor.shape.count > Self.longShape else {
      return pieces(CollectionOfOne(tensor)).map { .memory($0[...]) }
    }
    let shape = ShapeText(tensor.shape)
    let (before, after) = pieces(aroundShapeOf: tensor, shapeCount: shape.byteCount)
    return before.map { .memory($0[...]) } + [.computed(shape), .memory(after[...])]
  }
}

/// The dimensions of a shape in decimal, with commas between them.
///
/// A header of 100 MB can have 50 million dimensions. Their text is not stored, only the start of every 4096th.
private struct ShapeText: ComputedElements {
  let byteCount: UInt64
  private let shape: ArraySlice<UInt64>
  private let starts: [UInt64]

  private static let stride = 4096

  init(_ shape: ArraySlice<UInt64>) {
    var count: UInt64 = 0
    var starts: [UInt64] = []
    for (position, dimension) in shape.enumerated() {
      if position % Self.stride == 0 { starts.append(count) }
      // The comma that follows; the last dimension has none.
      count += Self.digitCount(dimension) + 1
    }
    byteCount = max(1, count) - 1
    self.shape = shape
    self.starts = starts
  }

  private static func digitCount(_ number: UInt64) -> UInt64 {
    var count: UInt64 = 1
    var rest = number
    while rest >= 10 {
      rest /= 10
      count += 1
    }
    return count
  }

  func sources(of range: Range<UInt64>) -> [FileRange] { [] }

  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    let end = offset + UInt64(target.byteCount)
    // The last start at or before the offset; the first is 0.
    let last = starts.partitionPoint { $0 <= offset } - 1
    guard last >= 0 else { return }
    var position = starts[last]
    for dimension in shape.dropFirst(last * Self.stride) {
      guard position < end else { return }
      for byte in Array(String(dimension).utf8) + [UInt8(ascii: ",")] {
        if position >= offset, position < end {
          target.storeBytes(of: byte, toByteOffset: Int(position - offset), as: UInt8.self)
        }
        position += 1
      }
    }
  }
}
