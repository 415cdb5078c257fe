package import Safetensors

/// Where the bytes of a tensor come from.
package enum TensorSource: Sendable {
  /// A range of a file: the tensor's bytes, or the range that a strided tensor spans.
  case stored(FileRange)
  /// Slices in these shards.
  case assembled(AssembledTensor, of: [Shard])
  /// Codes and scales, from which reads compute float32. Tensors share the cache.
  case computed(QuantizedTensor, StripeCache)
}

extension Shard {
  /// Where the bytes of a tensor of this shard come from.
  package func source(of tensor: Tensor) -> TensorSource {
    switch contents {
    case .file:
      // Cannot overflow: the header was checked against the file's size.
      let range =
        header.dataStart + tensor.dataRange.lowerBound..<header.dataStart + tensor.dataRange.upperBound
      return .stored(FileRange(range, of: file))
    case .files(let files):
      return .stored(FileRange(0..<tensor.byteCount, of: files[position(of: tensor)]))
    case .assembled(let assembly):
      return .assembled(assembly.tensors[position(of: tensor)], of: assembly.shards)
    case .computed(let computed):
      return .computed(computed.tensors[position(of: tensor)], computed.cache)
    }
  }

  /// The range of a stored tensor in its file; nil for assembled and computed tensors.
  package func storedRange(of tensor: Tensor) -> FileRange? {
    if case .stored(let range) = source(of: tensor) { range } else { nil }
  }

  private func position(of tensor: Tensor) -> Int {
    // Always found, since the tensor is one of the header's.
    header.index(of: tensor.name) ?? 0
  }
}
