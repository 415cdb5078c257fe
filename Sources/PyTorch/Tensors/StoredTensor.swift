/// A tensor of a file: elements of a storage, at strides. All its numbers are checked.
package struct StoredTensor: Sendable {
  /// The dotted name, valid UTF-8.
  package let name: ArraySlice<UInt8>
  package let type: ElementType
  /// The dimensions, outermost first; empty for a scalar.
  package let shape: ArraySlice<UInt64>
  /// The distance between neighbouring elements in each dimension, counted in elements.
  package let strides: ArraySlice<UInt64>
  /// The range of the file from the first element to the end of the last one; empty without elements.
  package let range: Range<UInt64>
  /// True if the elements are contiguous in row-major order, as in torch.Tensor.is_contiguous.
  package let isContiguous: Bool
  /// Tensors with the same number have equal shapes and strides.
  package let layout: Int
}

/// A tensor that a file names but ``StoredTensors`` lacks.
package struct Omission: Sendable {
  package enum Reason: Hashable, Sendable {
    /// Its elements are not the elements of a storage.
    case kind(Kind)
    /// Its elements have to be conjugated or negated.
    case lazy
    /// A storage, not a tensor.
    case bareStorage
    /// Its dictionary key cannot be part of a name.
    case unnamed
    /// It is nested too deeply. The search for tensors stops there.
    case deep
  }

  /// Kinds of tensors whose elements are not the elements of a storage.
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
  package let reason: Reason
}
