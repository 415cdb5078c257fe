/// One tensor, as its header describes it.
package struct Tensor: Sendable {
  /// The name, unique in its file.
  package let name: TensorName
  /// The element type.
  package let dtype: DType
  /// The dimensions in logical elements, outermost first; empty for a scalar.
  package let shape: ArraySlice<UInt64>
  /// The bytes in the file's data buffer, which begins at the header's ``Header/dataStart``. If the tensor has
  /// ``strides``, the bytes from its first element to the end of the last one.
  package let dataRange: Range<UInt64>
  /// The distance between neighbours in elements, for each dimension; nil if the elements are contiguous
  /// in row-major order, as always in a safetensors file.
  package var strides: ArraySlice<UInt64>? = nil

  /// True if the tensor's bytes are ``dataRange``, in order.
  package var isContiguous: Bool { strides == nil }

  /// The size in bytes.
  package var byteCount: UInt64 {
    if isContiguous { return dataRange.upperBound - dataRange.lowerBound }
    // Cannot overflow: the reader of the header has checked that the size fits into 63 bits.
    let bits = shape.reduce(1, *).multipliedFullWidth(by: dtype.bitSize)
    return (8 as UInt64).dividingFullWidth(bits).quotient
  }
}

/// The header of one file: every check passed, every number safe to use.
///
/// Stored as a table with its text and dimensions in two buffers: about 45 bytes and the name for a tensor,
/// and no allocation of its own.
package struct Header: Sendable {
  /// Where the data buffer begins in the file, in bytes.
  package let dataStart: UInt64
  /// Bytes after the last tensor; 0 unless the file was read leniently.
  package let trailingBytes: UInt64

  /// One row of the table. 32-bit fields are offsets into buffers no larger than a header, 100 MB.
  package struct Record {
    package var nameStart: UInt32
    package var nameCount: UInt32
    package var shapeStart: UInt32
    package var shapeCount: UInt32
    /// The offset of the name in the header, for error messages.
    package var keyOffset: UInt32
    package var dtype: DType
    /// The strides follow the shape in ``Header/dimensions``.
    package var isStrided = false
    package var begin: UInt64
    package var end: UInt64

    package init(
      nameStart: UInt32, nameCount: UInt32, shapeStart: UInt32, shapeCount: UInt32, keyOffset: UInt32,
      dtype: DType, isStrided: Bool = false, begin: UInt64, end: UInt64
    ) {
      self.nameStart = nameStart
      self.nameCount = nameCount
      self.shapeStart = shapeStart
      self.shapeCount = shapeCount
      self.keyOffset = keyOffset
      self.dtype = dtype
      self.isStrided = isStrided
      self.begin = begin
      self.end = end
    }

    /// The name's bytes in the table's text.
    package func name(in text: [UInt8]) -> ArraySlice<UInt8> {
      let start = Int(nameStart)
      return text[start..<start + Int(nameCount)]
    }
  }

  /// Names, metadata keys and values, unescaped.
  package let text: [UInt8]
  package let dimensions: [UInt64]
  /// In the order of names, by their UTF-8 bytes.
  package let records: [Record]
  package private(set) var metadataRanges: [(key: Range<Int>, value: Range<Int>)]

  package init(
    dataStart: UInt64, trailingBytes: UInt64, text: [UInt8], dimensions: [UInt64], records: [Record],
    metadataRanges: [(key: Range<Int>, value: Range<Int>)]
  ) {
    self.dataStart = dataStart
    self.trailingBytes = trailingBytes
    self.text = text
    self.dimensions = dimensions
    self.records = records
    self.metadataRanges = metadataRanges
  }

  /// The number of tensors.
  package var count: Int { records.count }

  /// The tensors in the order of their names, by UTF-8 bytes. `index` is below ``count``.
  package subscript(index: Int) -> Tensor {
    let record = records[index]
    let shapeStart = Int(record.shapeStart)
    let shapeEnd = shapeStart + Int(record.shapeCount)
    return Tensor(
      name: name(of: record), dtype: record.dtype, shape: dimensions[shapeStart..<shapeEnd],
      dataRange: record.begin..<record.end,
      strides: record.isStrided ? dimensions[shapeEnd..<shapeEnd + Int(record.shapeCount)] : nil)
  }

  /// Only the name of the tensor at `index`.
  package func name(at index: Int) -> TensorName { name(of: records[index]) }

  /// Where the bytes of the tensor at `index` are in the file, without making the tensor; nil if it has strides.
  package func contiguousRange(at index: Int) -> Range<UInt64>? {
    let record = records[index]
    return record.isStrided ? nil : dataStart + record.begin..<dataStart + record.end
  }

  private func name(of record: Record) -> TensorName { TensorName(utf8: record.name(in: text)) }

  /// The index of the tensor of this name, or nil. Takes time logarithmic in ``count``.
  package func index(of name: TensorName) -> Int? {
    let index = records.partitionPoint { compareBytes($0.name(in: text), name.utf8) < 0 }
    return index < count && self.name(at: index) == name ? index : nil
  }

  /// The entries of `__metadata__` in the order of their keys, by UTF-8 bytes; keys are unique.
  package var metadata: [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] {
    metadataRanges.map { (text[$0.key], text[$0.value]) }
  }

  /// Removes the entries of `__metadata__` with these keys.
  package mutating func removeMetadata(_ keys: [String]) {
    metadataRanges.removeAll { entry in keys.contains { text[entry.key].elementsEqual($0.utf8) } }
  }
}
