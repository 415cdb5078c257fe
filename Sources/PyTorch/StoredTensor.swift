/// A tensor of a file: elements of a storage, at strides. All its numbers have been checked.
public struct StoredTensor: Sendable {
  /// The dotted name, valid UTF-8.
  public let name: [UInt8]
  /// The element type.
  public let type: ElementType
  /// The dimensions, outermost first; empty for a scalar.
  public let shape: [UInt64]
  /// How many elements lie between neighbours, for each dimension.
  public let strides: [UInt64]
  /// The bytes of the file from the first element to the end of the last one that any index reaches; empty
  /// where there is no element.
  public let range: Range<UInt64>

  /// True if the elements follow each other in row-major order, as torch.Tensor.is_contiguous says it.
  public var isContiguous: Bool {
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
public struct Omission: Sendable {
  /// Why.
  public enum Reason: Sendable {
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
  public let name: [UInt8]
  /// The element type, where it is known.
  public let type: ElementType?
  /// Why.
  public let reason: Reason
}
