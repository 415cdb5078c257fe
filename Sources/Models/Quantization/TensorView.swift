internal import Linux
package import Safetensors
package import SystemPackage

/// The elements of a tensor, possibly transposed.
///
/// Holds the files, so it can be read without the model.
package struct TensorView: Sendable {
  private enum Storage {
    /// Bytes of a file. `strides` are in elements; nil if the elements are contiguous.
    case file(FileRange, strides: [UInt64]?)
    /// Slices in several files.
    case slices(AssembledTensor, of: [Shard])
  }

  private let storage: Storage
  /// How the elements are stored.
  package let dtype: DType
  /// The dimensions in reading order, outermost first.
  package let shape: [UInt64]
  /// The size in bytes.
  package let byteCount: UInt64

  /// A tensor's elements, as stored. `tensor` must be one of the shard's. Nil for a computed one.
  package init?(_ tensor: Tensor, of shard: Shard) {
    switch shard.source(of: tensor) {
    case .stored(let part): storage = .file(part, strides: tensor.strides.map { Array($0) })
    case .assembled(let tensor, let shards): storage = .slices(tensor, of: shards)
    case .computed: return nil
    }
    dtype = tensor.dtype
    shape = Array(tensor.shape)
    byteCount = tensor.byteCount
  }

  private init(_ other: TensorView, _ storage: Storage, dtype: DType, shape: [UInt64]) {
    self.storage = storage
    self.dtype = dtype
    self.shape = shape
    byteCount = other.byteCount
  }

  /// The view with the last two dimensions exchanged. Nil for assembled tensors, which are read row by row,
  /// and for fewer than two dimensions.
  package var transposed: TensorView? {
    let count = shape.count
    guard count >= 2, case .file(let part, let strides) = storage else { return nil }
    var transposed = shape
    transposed.swapAt(count - 1, count - 2)
    var steps = strides ?? []
    if strides == nil {
      // Cannot overflow: the products are at most the tensor's number of elements.
      var step: UInt64 = 1
      for dimension in shape.reversed() {
        steps.append(step)
        step *= dimension
      }
      steps.reverse()
    }
    steps.swapAt(count - 1, count - 2)
    return TensorView(self, .file(part, strides: steps), dtype: dtype, shape: transposed)
  }

  /// The view with two inner dimensions joined; nil if they are not contiguous.
  package var joiningLastDimensions: TensorView? {
    guard shape.count >= 2 else { return nil }
    if isScattered { return nil }
    let joined = shape.dropLast(2) + [shape[shape.count - 2] * shape[shape.count - 1]]
    return TensorView(self, storage, dtype: dtype, shape: Array(joined))
  }

  /// The same bytes as elements of another dtype of the same width.
  package func read(as dtype: DType) -> TensorView { TensorView(self, storage, dtype: dtype, shape: shape) }

  /// The bytes as one row; nil if they are not contiguous.
  package var bytes: TensorView? {
    if isScattered { return nil }
    return TensorView(self, storage, dtype: .u8, shape: [byteCount])
  }

  /// The number of elements in a row: the last dimension.
  package var columns: UInt64 { shape.last ?? 1 }

  /// True if the elements are not in file order, so that reading a part reads many other bytes.
  var isScattered: Bool { if case .file(_, .some) = storage { true } else { false } }

  /// The ranges of files that bytes `range` of the view come from. For a file with scattered elements, an
  /// empty range.
  package func sources(of range: Range<UInt64>) -> [FileRange] {
    switch storage {
    case .file(let part, nil): return [part.part(range)]
    case .file(let part, _): return [FileRange(0..<0, of: part.file)]
    case .slices(let tensor, let shards):
      return tensor.pieces(in: range).map { piece in
        let shard = shards[Int(piece.place.shard)]
        let slice = shard.header[Int(piece.place.index)]
        guard slice.isContiguous, let part = shard.storedRange(of: slice) else {
          return FileRange(0..<0, of: shard.file)
        }
        return part.part(piece.bytes(in: range))
      }
    }
  }

  /// Fills `target` from `offset` of the view: pread(2). Throws ESTALE if a file was truncated.
  package func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) {
    switch storage {
    case .file(let part, nil): try part.file.read(from: part.range.lowerBound + offset, into: &target)
    case .file(let part, let strides?):
      var tensor = Tensor(
        name: TensorName(utf8: []), dtype: dtype, shape: shape[...], writtenTo: 0..<byteCount)
      tensor.strides = strides[...]
      try StridedReader(tensor, at: part.range.lowerBound).read(from: offset, of: part.file, into: &target)
    case .slices(let tensor, let shards): try tensor.read(from: offset, of: shards, into: &target)
    }
  }

  /// Reads bytes `range` of the view.
  package func read(_ range: Range<UInt64>) throws(Errno) -> [UInt8] {
    try [UInt8](filling: range.count) { target throws(Errno) in
      try read(from: range.lowerBound, into: &target)
    }
  }
}
