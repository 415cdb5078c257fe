package import Safetensors

/// A tensor whose parts are in several files, or at several places of one, as in a distributed checkpoint.
///
/// Each part is a box: a tensor in some shard, and the index of its first element in the whole. The boxes fill the whole
/// without overlap. Takes memory proportional to the number of boxes and their dimensions.
package struct AssembledTensor: Sendable {
  /// One box.
  package struct Piece: Sendable {
    /// The place of the box's tensor.
    package let place: Model.Place
    /// The index of its first element in the whole, by dimension.
    package let start: [UInt64]
    /// The bytes of the whole that are in the box.
    let runs: BoxRuns
  }

  /// The whole tensor; its bytes are not in one file, so its `dataRange` begins at 0.
  package let tensor: Tensor
  /// The boxes with elements, in the order of their first bytes.
  package let pieces: [Piece]

  /// True if each box is a contiguous run of the whole's bytes, in order.
  package let isSequence: Bool

  private let tree: BoxTree

  /// An unchecked box.
  struct Box {
    var place: Model.Place
    var start: [UInt64]
    var shape: ArraySlice<UInt64>
  }

  /// Why boxes do not make a tensor, as a clause; safe to print.
  struct Problem: Error {
    let clause: String
  }

  /// Checks that boxes fill a shape. All must have its number of dimensions, and end inside it.
  init(name: TensorName, dtype: DType, shape: [UInt64], _ boxes: [Box]) throws(Problem) {
    // Overflow does not depend on the order: a dimension of 0 does not make the others smaller.
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

  /// The boxes with bytes in a part of the whole. Takes time in proportion to their number, not to that of all boxes.
  package func pieces(in range: Range<UInt64>) -> [Piece] {
    var found: [Piece] = []
    tree.search(range) { position in
      if !pieces[position].bytes(in: range).isEmpty { found.append(pieces[position]) }
    }
    return found
  }
}

extension AssembledTensor.Piece {
  /// The bytes of the box itself that are in a part of the whole.
  package func bytes(in range: Range<UInt64>) -> Range<UInt64> { runs.bytes(in: range) }

  /// The offset of a byte of the box in the whole, and the length of its run there.
  func run(at byte: UInt64) -> (place: UInt64, count: UInt64) {
    let (run, rest) = byte.quotientAndRemainder(dividingBy: runs.length)
    return (runs.offset(of: run) + rest, runs.length - rest)
  }
}

/// The slices of a shard's tensors.
package struct Assembly: Sendable {
  /// In the order of the shard's header.
  let tensors: [AssembledTensor]
  /// The shards of the slices, in the numbering of their places.
  package let shards: [Shard]

  init(tensors: [AssembledTensor], shards: [Shard]) {
    self.tensors = tensors
    self.shards = shards
  }
}
