/// A tensor of a file: elements of a storage, at strides. All its numbers have been checked.
package struct StoredTensor: Sendable {
  /// The dotted name, valid UTF-8.
  package let name: ArraySlice<UInt8>
  /// The element type.
  package let type: ElementType
  /// The dimensions, outermost first; empty for a scalar.
  package let shape: ArraySlice<UInt64>
  /// How many elements lie between neighbours, for each dimension.
  package let strides: ArraySlice<UInt64>
  /// The bytes of the file from the first element to the end of the last one that any index reaches; empty
  /// where there is no element.
  package let range: Range<UInt64>
  /// True if the elements follow each other in row-major order, as torch.Tensor.is_contiguous says it.
  package let isContiguous: Bool
  /// Tensors of the same number have the same shape and strides.
  package let layout: Int
}

/// A tensor that is named in a file and is not among its ``StoredTensor``s.
package struct Omission: Sendable {
  /// Why.
  package enum Reason: Hashable, Sendable {
    /// It is not made of a storage's elements.
    case kind(Kind)
    /// Its elements stand for their conjugates or negatives.
    case lazy
    /// A storage, not a tensor.
    case bareStorage
    /// It is found by a key that makes no name.
    case unnamed
    /// What is deeper than this is not looked into, whether it holds tensors or not.
    case deep
  }

  /// What a tensor is that is no run of a storage's elements.
  package enum Kind: Hashable, Sendable {
    case quantized, sparse, nested, meta
    /// Of a subclass that holds other tensors.
    case wrapped
    /// Of a device without storages.
    case device
    /// Made of numbers in the pickle.
    case inline
    /// Made by a function that is unknown.
    case custom
  }

  /// The dotted name, valid UTF-8.
  package let name: ArraySlice<UInt8>
  /// The element type, where it is known.
  package let type: ElementType?
  /// Why.
  package let reason: Reason
}
