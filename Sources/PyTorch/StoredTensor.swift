/// A tensor of a file: elements of a storage, at strides. All its numbers have been checked.
package struct StoredTensor: Sendable {
  /// The dotted name, valid UTF-8.
  package let name: [UInt8]
  /// The element type.
  package let type: ElementType
  /// The dimensions, outermost first; empty for a scalar.
  package let shape: [UInt64]
  /// How many elements lie between neighbours, for each dimension.
  package let strides: [UInt64]
  /// The bytes of the file from the first element to the end of the last one that any index reaches; empty
  /// where there is no element.
  package let range: Range<UInt64>

  /// True if the elements follow each other in row-major order, as torch.Tensor.is_contiguous says it.
  package var isContiguous: Bool {
    if shape.contains(0) { return true }
    var expected: UInt64 = 1
    for (count, stride) in zip(shape, strides).reversed() where count != 1 {
      if stride != expected { return false }
      // Where it overflows, there are more elements than a contiguous tensor has.
      expected = expected.multipliedReportingOverflow(by: count).partialValue
    }
    return true
  }
}

/// A tensor that is named in a file and is not among its ``StoredTensor``s.
package struct Omission: Sendable {
  /// Why.
  package enum Reason: Sendable {
    /// It is not made of a storage's elements: sparse, quantized, nested and such, as one word.
    case kind(String)
    /// Its elements stand for their conjugates or negatives.
    case lazy
    /// A storage, not a tensor.
    case bareStorage
    /// It is found by a key that makes no name.
    case unnamed
  }

  /// The dotted name, valid UTF-8.
  package let name: [UInt8]
  /// The element type, where it is known.
  package let type: ElementType?
  /// Why.
  package let reason: Reason
}
