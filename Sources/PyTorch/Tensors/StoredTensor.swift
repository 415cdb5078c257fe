/// A tensor of a file: elements of a storage, at strides. All its numbers have been checked.
package struct StoredTensor: Sendable {
  /// The dotted name, valid UTF-8.
  package let name: ArraySlice<UInt8>
  /// The element type.
  package let type: ElementType
  /// The dimensions, outermost first; empty for a scalar.
  package let shape: ArraySlice<UInt64>
  /// The distance between neighbours in elements, for each dimension.
  package let strides: ArraySlice<UInt64>
  /// The bytes of the file from the first element to the end of the last one that any index reaches; empty
  /// if there are no elements.
  package let range: Range<UInt64>
  /// True if the elements are contiguous in row-major order, as in torch.Tensor.is_contiguous.
  package let isContiguous: Bool
  /// Tensors with the same number have the same shape and strides.
  package let layout: Int
}

/// A tensor that a file names and that is left out of its ``StoredTensor``s.
package struct Omission: Sendable {
  /// Why.
  package enum Reason: Hashable, Sendable {
    /// Its elements are not a storage's elements.
    case kind(Kind)
    /// Its elements represent their conjugates or negatives.
    case lazy
    /// A storage, not a tensor.
    case bareStorage
    /// Its key cannot become a name.
    case unnamed
    /// It is nested too deeply; deeper values are not searched for tensors.
    case deep
  }

  /// The kind of a tensor whose elements are not a storage's elements.
  package enum Kind: Hashable, Sendable {
    case quantized, sparse, nested, meta
    /// A subclass that contains other tensors.
    case wrapped
    /// A tensor on a device without storages.
    case device
    /// A tensor made from numbers in the pickle.
    case inline
    /// A tensor made by an unknown function.
    case custom
  }

  /// The dotted name, valid UTF-8.
  package let name: ArraySlice<UInt8>
  /// The element type, if known.
  package let type: ElementType?
  /// Why.
  package let reason: Reason
}
