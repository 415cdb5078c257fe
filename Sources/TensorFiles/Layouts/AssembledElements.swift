internal import Models
internal import Safetensors
internal import SystemPackage

/// A tensor whose parts are boxes of several files, in row-major order.
struct AssembledElements: ComputedElements {
  private let assembled: AssembledTensor
  private let shards: [Shard]

  init(_ assembled: AssembledTensor, of shards: [Shard]) {
    self.assembled = assembled
    self.shards = shards
  }

  var byteCount: UInt64 { assembled.tensor.byteCount }

  func sources(of range: Range<UInt64>) -> [FileRange] {
    assembled.pieces(in: range).flatMap { piece in
      layout(of: piece)?.sources(of: piece.bytes(in: range)) ?? []
    }
  }

  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    try assembled.read(from: offset, of: shards, into: &target)
  }

  /// The tensor as segments: one for each box, if the boxes are in row-major order. Nil if a box is larger than a file
  /// can be.
  var segments: [FileLayout.Segment]? {
    guard assembled.isSequence else { return [.computed(self)] }
    var segments: [FileLayout.Segment] = []
    for piece in assembled.pieces {
      guard let layout = layout(of: piece) else { return nil }
      segments += layout.segments
    }
    return segments
  }

  private func layout(of piece: AssembledTensor.Piece) -> FileLayout? {
    let shard = shards[Int(piece.place.shard)]
    return FileLayout(of: shard.header[Int(piece.place.index)], in: shard)
  }
}
