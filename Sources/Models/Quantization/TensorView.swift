internal import Linux
package import Safetensors
package import SystemPackage

/// Elements of one tensor of a file, in an order of their own: the tensor itself, or one transposed.
///
/// Holds the file, so that it can be read without the model.
package struct TensorView: Sendable {
  /// The file.
  package let file: SourceFile
  /// Where the first element is in the file, in bytes.
  package let start: UInt64
  /// How the elements are stored.
  package let dtype: DType
  /// The dimensions as they are read, outermost first.
  package let shape: [UInt64]
  /// The size in bytes.
  package let byteCount: UInt64
  /// How many elements lie between neighbours in the file; nil where they follow each other.
  private let strides: [UInt64]?

  /// A tensor's elements as they are. `tensor` is contiguous and one of the shard's.
  package init(_ tensor: Tensor, of shard: Shard) {
    file = shard.file(of: tensor)
    start = shard.fileRange(of: tensor).lowerBound
    dtype = tensor.dtype
    shape = Array(tensor.shape)
    byteCount = tensor.byteCount
    strides = nil
  }

  private init(_ other: TensorView, dtype: DType, shape: [UInt64], strides: [UInt64]?) {
    file = other.file
    start = other.start
    self.dtype = dtype
    self.shape = shape
    byteCount = other.byteCount
    self.strides = strides
  }

  /// The same bytes with the last two dimensions exchanged; of a matrix, its transpose.
  package var transposed: TensorView {
    let count = shape.count
    guard count >= 2, isContiguous else { return self }
    var shape = shape
    shape.swapAt(count - 1, count - 2)
    // Cannot overflow: the products are at most the tensor's number of elements.
    var strides = [UInt64](repeating: 1, count: count)
    strides[count - 1] = shape[count - 2]
    var step = shape[count - 1] * shape[count - 2]
    for index in (0..<(count - 2)).reversed() {
      strides[index] = step
      step *= shape[index]
    }
    return TensorView(self, dtype: dtype, shape: shape, strides: strides)
  }

  /// The same bytes with two inner dimensions made one.
  package var joiningLastDimensions: TensorView {
    guard shape.count >= 2, isContiguous else { return self }
    let joined = shape.dropLast(2) + [shape[shape.count - 2] * shape[shape.count - 1]]
    return TensorView(self, dtype: dtype, shape: Array(joined), strides: nil)
  }

  /// The same bytes as elements of another type of the same width.
  package func read(as dtype: DType) -> TensorView {
    TensorView(self, dtype: dtype, shape: shape, strides: strides)
  }

  /// True if the bytes follow each other in the file.
  package var isContiguous: Bool { strides == nil }

  /// The bytes of the file that the view reaches.
  package var fileRange: Range<UInt64> { start..<start + byteCount }

  /// The number of elements in a row: the last dimension.
  package var columns: UInt64 { shape.last ?? 1 }

  /// As many bytes as `target` has, from `offset` of the view: pread(2).
  ///
  /// Throws ESTALE where the file has become too short.
  package func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) {
    guard let strides else {
      try file.read(from: start + offset, into: &target)
      return
    }
    var tensor = Tensor(
      name: TensorName(utf8: []), dtype: dtype, shape: shape[...], writtenTo: 0..<byteCount)
    tensor.strides = strides[...]
    try StridedReader(tensor, at: start).read(from: offset, of: file, into: &target)
  }

  /// `range` of the view's bytes, in memory of their own.
  package func read(_ range: Range<UInt64>) throws(Errno) -> [UInt8] {
    try [UInt8](filling: range.count) { target throws(Errno) in
      try read(from: range.lowerBound, into: &target)
    }
  }
}
