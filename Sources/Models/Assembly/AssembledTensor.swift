package import Safetensors

/// A tensor of which several files, or several places of one, hold a part: what a distributed checkpoint has.
///
/// Each part is a box: a tensor in some shard, and the index of its first element in the whole. The boxes fill the whole
/// without overlap. Takes memory in the number of boxes and their dimensions.
package struct AssembledTensor: Sendable {
  /// One box.
  package struct Piece: Sendable {
    /// Where the box's tensor is.
    package let place: Model.Place
    /// The index of its first element in the whole, by dimension.
    package let start: [UInt64]
    /// Which bytes of the whole are the box's.
    let runs: BoxRuns
  }

  /// The whole tensor; its bytes are in no file's order, so its `dataRange` begins at 0.
  package let tensor: Tensor
  /// The boxes with elements, in the order of their first bytes.
  package let pieces: [Piece]

  /// True if the boxes follow each other: each is a run of the whole's bytes.
  package let isSequence: Bool

  /// A box before it is checked.
  struct Box {
    var place: Model.Place
    var start: [UInt64]
    var shape: ArraySlice<UInt64>
  }

  /// Why boxes are no tensor, as a clause; safe to print.
  struct Problem: Error {
    let clause: String
  }

  /// Checks that boxes fill a shape. All have as many dimensions as it, and end inside it.
  init(name: TensorName, dtype: DType, shape: [UInt64], _ boxes: [Box]) throws(Problem) {
    // The order does not decide what overflows: a dimension of no element makes the others no smaller.
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
    var pieces: [Piece] = []
    for box in boxes where !box.shape.contains(0) {
      guard let runs = BoxRuns(start: box.start, shape: box.shape, in: shape, bits: dtype.bitSize) else {
        throw Problem(clause: "is cut inside a byte: its elements are \(dtype.name)")
      }
      pieces.append(Piece(place: box.place, start: box.start, runs: runs))
    }
    pieces.sort { $0.runs.first < $1.runs.first }
    self.pieces = pieces
    isSequence = pieces.allSatisfy { $0.runs.count == 1 }
  }

}

extension AssembledTensor.Piece {
  /// The bytes of the box itself that are in a part of the whole.
  package func bytes(in range: Range<UInt64>) -> Range<UInt64> { runs.bytes(in: range) }

  /// Where a byte of the box is in the whole, and how many follow it there.
  func run(at byte: UInt64) -> (place: UInt64, count: UInt64) {
    let (run, rest) = byte.quotientAndRemainder(dividingBy: runs.length)
    return (runs.offset(of: run) + rest, runs.length - rest)
  }
}

/// What the tensors of a shard are put together from.
package struct Assembly: Sendable {
  /// In the order of the shard's header.
  fileprivate let tensors: [AssembledTensor]
  /// The shards that the slices are in, as their places number them.
  package let shards: [Shard]

  init(tensors: [AssembledTensor], shards: [Shard]) {
    self.tensors = tensors
    self.shards = shards
  }
}

extension Shard {
  /// What a tensor of this shard is put together from; nil if its bytes are those of the file.
  package func assembled(_ tensor: Tensor) -> AssembledTensor? {
    guard let assembly, let index = header.index(of: tensor.name) else { return nil }
    return assembly.tensors[index]
  }
}
