package import Models
package import Safetensors
package import SystemPackage

extension Widening {
  /// How much is read and widened at a time, in bytes: a multiple of every group, and small enough to stay in the
  /// processor's cache.
  private static let step = 48 << 10

  /// Widened bytes of a tensor, in memory of their own.
  ///
  /// They come through pread(2) and not from the mapping: touching a mapped page of a file that was truncated
  /// meanwhile is SIGBUS. Throws where the file ends too early. The caller checks afterwards that the file has not
  /// changed; the bytes wanted are those after `excess`, which is less than a group.
  package func read(_ wide: Range<UInt64>, of tensor: Tensor, in shard: Shard) throws(Errno)
    -> (words: [UInt32], excess: Int)
  {
    let (source, excess) = source(of: wide)
    let wordCount = Int(wideCount(of: UInt64(source.count)) ?? 0) / 4
    var failure: Errno?
    let words = unsafe [UInt32](unsafeUninitializedCapacity: wordCount) { buffer, initialized in
      unsafe withUnsafeTemporaryAllocation(byteCount: Self.step, alignment: 64) { scratch in
        do throws(Errno) {
          var position = source.lowerBound
          while position < source.upperBound {
            let count = Int(min(UInt64(Self.step), source.upperBound - position))
            var narrow = unsafe MutableRawSpan(_unsafeBytes: scratch[..<count])
            try shard.read(tensor, from: position, into: &narrow)
            var target = unsafe MutableRawSpan(_unsafeElements: buffer.extracting(initialized...))
            initialized += widen(narrow.bytes, into: &target) / 4
            position += UInt64(count)
          }
        } catch {
          failure = error
        }
      }
    }
    if let failure { throw failure }
    return (words, excess)
  }
}
