package import Safetensors

/// A tensor that is assembled from slices in several files, or at several places of one file, as in a distributed checkpoint.
///
/// Each slice is a box: a tensor of a shard, and the index of its first element in the whole tensor. The boxes fill the whole
/// tensor without overlap. Memory is proportional to the number of boxes and their dimensions.
package struct AssembledTensor: Sendable {
  /// One box.
  package struct Piece: Sendable {
    /// The place of the box's tensor in the shards.
    package let place: Model.Place
    /// The index of the box's first element in the whole tensor, by dimension.
    package let start: [UInt64]
    /// The bytes of the whole tensor that are in the box.
    let runs: BoxRuns
  }

  /// The whole tensor. Its bytes are not in one file, so its `dataRange` begins at 0.
  package let tensor: Tensor
  /// The boxes that have elements, in the order of their first bytes.
  package let pieces: [Piece]

  /// True if each box is one contiguous run of the whole tensor's bytes.
  package let isSequence: Bool

  private let tree: BoxTree

  /// A box before it is checked.
  struct Box {
    var place: Model.Place
    var start: [UInt64]
    var shape: ArraySlice<UInt64>
  }

  /// Why boxes do not form a tensor: a clause after the tensor's name; safe to print.
  struct Problem: Error {
    let clause: String
  }

  /// Makes a tensor of boxes, and throws if they do not fill `shape` exactly once. All boxes must have the number of
  /// dimensions of `shape`, and end inside it.
  init(name: TensorName, dtype: DType, shape: [UInt64], _ boxes: [Box]) throws(Problem) {
    // A dimension of 0 must not hide an overflow of the other dimensions.
    var elements: UInt64 = 1
    for dimension in shape where dimension > 0 {
      let (product, overflow) = elements.multipliedReportingOverflow(by: dimension)
      if overflow { throw Problem(clause: "has a shape whose size does not fit in 64 bits") }
      elements = product
    }
    guard elements.multipliedReportingOverflow(by: dtype.bitSize).overflow == false,
      let byteCount = dtype.byteCount(of: shape[...])
    else { throw Problem(clause: "has a shape whose size does not fit in 64 bits") }
    tensor = Tensor(name: name, dtype: dtype, shape: shape[...], writtenTo: 0..<byteCount)
    try BoxCover.check(boxes, fill: shape)
    var cut: [(box: Box, runs: BoxRuns)] = []
    for box in boxes where !box.shape.contains(0) {
      guard let runs = BoxRuns(start: box.start, shape: box.shape, in: shape, bits: dtype.bitSize) else {
        throw Problem(clause: "has a slice that begins or ends inside a byte: its dtype is \(dtype.name)")
      }
      cut.append((box, runs))
    }
    cut.sort { $0.runs.first < $1.runs.first }
    pieces = cut.map { Piece(place: $0.box.place, start: $0.box.start, runs: $0.runs) }
    isSequence = pieces.allSatisfy { $0.runs.count == 1 }
    tree = BoxTree(cut.map(\.box), in: shape, bits: dtype.bitSize)
  }

  /// The boxes that have bytes in a range of the whole tensor. Takes time in proportion to the number of boxes that it finds,
  /// not of all boxes.
  package func pieces(in range: Range<UInt64>) -> [Piece] {
    var found: [Piece] = []
    tree.search(range) { position in
      if !pieces[position].bytes(in: range).isEmpty { found.append(pieces[position]) }
    }
    return found
  }
}

extension AssembledTensor.Piece {
  /// The range of the box's own bytes that lie in a range of the whole tensor.
  package func bytes(in range: Range<UInt64>) -> Range<UInt64> { runs.bytes(in: range) }

  /// The offset in the whole tensor of a byte of the box, and the number of bytes from there to the end of its run.
  func run(at byte: UInt64) -> (place: UInt64, count: UInt64) {
    let (run, rest) = byte.quotientAndRemainder(dividingBy: runs.length)
    return (runs.offset(of: run) + rest, runs.length - rest)
  }
}

/// The tensors of a shard that are assembled, and the shards of their slices.
package struct Assembly: Sendable {
  /// In the order of the shard's header.
  let tensors: [AssembledTensor]
  /// The shards of the slices; ``Model/Place/shard`` of a slice is a position in this array.
  package let shards: [Shard]

  init(tensors: [AssembledTensor], shards: [Shard]) {
    self.tensors = tensors
    self.shards = shards
  }
}
