/// Writes headers as the reference does: compact JSON, and spaces up to a multiple of 8 bytes.
package struct HeaderWriter: Sendable {
  /// A header's length, with the 8 bytes of the length field, is a multiple of this; so is the start of the data.
  package static let alignment: UInt64 = 8

  /// `{`, and `__metadata__` if there is any. Written once for the many headers that share it.
  private let opening: [UInt8]
  private let hasMetadata: Bool

  /// A writer of headers with these entries of `__metadata__`, in this order; without entries it is left out.
  package init(metadata: [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] = []) {
    var json = Array("{".utf8)
    if !metadata.isEmpty {
      json += "\"__metadata__\":{".utf8
      for (position, entry) in metadata.enumerated() {
        if position > 0 { json += ",".utf8 }
        JSONString.append(entry.key, .least, to: &json)
        json += ":".utf8
        JSONString.append(entry.value, .least, to: &json)
      }
      json += "}".utf8
    }
    opening = json
    hasMetadata = !metadata.isEmpty
  }

  /// A header for these tensors, in this order and with their ranges, as three pieces: the length, the beginning that all
  /// headers of this writer share, and the rest.
  ///
  /// `alignment` is a multiple of 8; the data begins at a multiple of it.
  package func pieces(
    _ tensors: some Sequence<Tensor>, alignment: UInt64 = Self.alignment
  ) -> [[UInt8]] {
    var entries: [UInt8] = []
    var needsComma = hasMetadata
    for tensor in tensors {
      if needsComma { entries += ",".utf8 }
      needsComma = true
      Self.appendStart(of: tensor, to: &entries)
      for (position, dimension) in tensor.shape.enumerated() {
        if position > 0 { entries += ",".utf8 }
        entries += String(dimension).utf8
      }
      Self.appendEnd(of: tensor, to: &entries)
    }
    let (length, padding) = frame(UInt64(entries.count), alignment)
    entries += padding
    return [length, opening, entries]
  }

  /// A header for one tensor whose shape the caller writes, in `shapeCount` bytes: the text before the shape, and the
  /// text after it.
  package func pieces(aroundShapeOf tensor: Tensor, shapeCount: UInt64) -> (before: [[UInt8]], after: [UInt8])
  {
    var start: [UInt8] = hasMetadata ? Array(",".utf8) : []
    Self.appendStart(of: tensor, to: &start)
    var end: [UInt8] = []
    Self.appendEnd(of: tensor, to: &end)
    // Cannot overflow: the shape is in memory, eight bytes for each of its dimensions.
    let (length, padding) = frame(UInt64(start.count + end.count) + shapeCount, Self.alignment)
    return ([length, opening, start], end + padding)
  }

  /// The length field of a header with entries of that size, and the text that ends the header.
  private func frame(_ entriesCount: UInt64, _ alignment: UInt64) -> (length: [UInt8], padding: [UInt8]) {
    let closing = UInt8(ascii: "}")
    let used = HeaderPrefix.size + UInt64(opening.count) + entriesCount + 1
    let padding = (alignment - used % alignment) % alignment
    let length = used + padding - HeaderPrefix.size
    return (
      (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) },
      [closing] + repeatElement(UInt8(ascii: " "), count: Int(padding))
    )
  }

  private static func appendStart(of tensor: Tensor, to json: inout [UInt8]) {
    JSONString.append(tensor.name.utf8, .least, to: &json)
    json += ":{\"dtype\":\"".utf8
    json += tensor.dtype.name.utf8
    json += "\",\"shape\":[".utf8
  }

  private static func appendEnd(of tensor: Tensor, to json: inout [UInt8]) {
    json += "],\"data_offsets\":[".utf8
    json += String(tensor.dataRange.lowerBound).utf8
    json += ",".utf8
    json += String(tensor.dataRange.upperBound).utf8
    json += "]}".utf8
  }
}

extension Tensor {
  /// A tensor to be written.
  package init(
    name: TensorName, dtype: DType, shape: ArraySlice<UInt64>, writtenTo dataRange: Range<UInt64>
  ) {
    self.init(name: name, dtype: dtype, shape: shape, dataRange: dataRange)
  }

  /// True if the reference writes this tensor before the other: wider types first, in the order of the format's
  /// list, then by name.
  package func isWritten(before other: Tensor) -> Bool {
    dtype == other.dtype ? name < other.name : dtype.rawValue > other.dtype.rawValue
  }
}
