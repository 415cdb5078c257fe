internal import Safetensors
package import SystemPackage

extension AssembledTensor {
  /// The maximum number of bytes that one read fetches for several short runs.
  private static let bufferSize = 256 << 10
  /// The minimum length, in bytes, of a run that is read directly into the target.
  private static let longRun: UInt64 = 64 << 10

  /// Fills `target` with the bytes of the whole tensor from `offset` on. Throws the errors of ``Shard/read(_:_:)``.
  package func read(from offset: UInt64, of shards: [Shard], into target: inout MutableRawSpan) throws(Errno)
  {
    let range = offset..<offset + UInt64(target.byteCount)
    for piece in pieces(in: range) {
      try Self.read(piece, range, of: shards[Int(piece.place.shard)], into: &target)
    }
  }

  /// Reads the part of a box that lies in the range, which is contiguous in the box, and copies each run to its place in
  /// `target`.
  private static func read(
    _ piece: Piece, _ range: Range<UInt64>, of shard: Shard, into target: inout MutableRawSpan
  ) throws(Errno) {
    guard let slice = TensorView(shard.header[Int(piece.place.index)], of: shard) else { throw .notSupported }
    var bytes = piece.bytes(in: range)
    let length = piece.runs.length
    let isOneRun = bytes.lowerBound / length == (bytes.upperBound - 1) / length
    while !bytes.isEmpty {
      let part: Range<UInt64>
      if isOneRun || length >= longRun {
        let (place, count) = piece.run(at: bytes.lowerBound)
        part = bytes.lowerBound..<min(bytes.upperBound, bytes.lowerBound + count)
        let start = Int(place - range.lowerBound)
        var slot = target._mutatingExtracting(start..<start + part.count)
        try slice.read(from: part.lowerBound, into: &slot)
      } else {
        part = bytes.lowerBound..<min(bytes.upperBound, bytes.lowerBound + UInt64(bufferSize))
        let read = try slice.read(part)
        distribute(read, part, of: piece, to: &target, at: range.lowerBound)
      }
      bytes = part.upperBound..<bytes.upperBound
    }
  }

  /// Copies bytes of a box, run by run, to their places in `target`. `read` holds the box's range `bytes`, and `target`
  /// begins at byte `start` of the whole tensor.
  private static func distribute(
    _ read: [UInt8], _ bytes: Range<UInt64>, of piece: Piece, to target: inout MutableRawSpan,
    at start: UInt64
  ) {
    unsafe target.withUnsafeMutableBytes { target in
      unsafe read.withUnsafeBytes { read in
        var position = bytes.lowerBound
        while position < bytes.upperBound {
          let (place, count) = piece.run(at: position)
          let end = min(position + count, bytes.upperBound)
          let from = Int(position - bytes.lowerBound)
          let to = Int(place - start)
          unsafe UnsafeMutableRawBufferPointer(rebasing: target[to..<to + Int(end - position)])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: read[from..<from + Int(end - position)]))
          position = end
        }
      }
    }
  }
}
