internal import Models

/// A part of a tensor that one thread works on, counted in numbers of ``NumberReader``.
package struct TensorBlock: Sendable {
  /// The position of the tensor in its list.
  package let tensor: Int
  package let numbers: Range<UInt64>

  /// The maximum number of blocks, beyond one for each tensor.
  private static let most: UInt64 = 1 << 16

  /// Cuts tensors with these counts of numbers into blocks of `size` numbers. Only the last block of a tensor is shorter.
  ///
  /// If there would be too many blocks, each has a multiple of `size`: an expanded tensor of PyTorch repeats its elements, and can
  /// have more than any disk holds.
  package static func all(of counts: [UInt64], size: UInt64) -> [TensorBlock] {
    let size = size * (1 + counts.clampedSum / size / most)
    return counts.enumerated().flatMap { tensor, count in
      (0..<count / size + (count % size == 0 ? 0 : 1)).map { index in
        let start = index * size
        return TensorBlock(tensor: tensor, numbers: start..<start + min(size, count - start))
      }
    }
  }
}
