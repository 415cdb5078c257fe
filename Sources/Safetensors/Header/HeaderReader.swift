internal import Glibc

extension Header {
  /// Reads a header: checks 4 to 7 of the reference, in its order.
  ///
  /// - Parameters:
  ///   - json: the header's bytes, without the 8 of its length.
  ///   - fileSize: the size of the whole file, in bytes.
  ///   - allowsTrailingBytes: accepts bytes after the last tensor (``trailingBytes``), as some old files have.
  ///
  /// Memory is bounded by the header's own size: numbers in it allocate nothing.
  package init(json: Span<UInt8>, fileSize: UInt64, allowsTrailingBytes: Bool = false) throws(HeaderError) {
    if let offset = firstInvalidUTF8(json) {
      throw .invalidHeader(offset: HeaderPrefix.size + UInt64(offset))
    }
    var table = HeaderTable()
    do {
      try table.read(json)
    } catch {
      throw .invalidHeaderDeserialization(
        offset: HeaderPrefix.size + UInt64(error.json.offset), problem: error.json.problem,
        tensor: error.tensor)
    }
    try table.sortByName()
    let dataEnd = try table.checkLayout()

    let dataStart = HeaderPrefix.size + UInt64(json.count)
    let (expected, overflowed) = dataStart.addingReportingOverflow(dataEnd)
    let isExact = !overflowed && expected == fileSize
    let hasTrailing = !overflowed && expected < fileSize
    guard isExact || (hasTrailing && allowsTrailingBytes) else {
      throw .metadataIncompleteBuffer(expected: overflowed ? nil : expected, fileSize: fileSize)
    }
    self.init(
      dataStart: dataStart, trailingBytes: fileSize - expected, text: table.text,
      dimensions: table.dimensions, records: table.records,
      metadataRanges: table.metadata.map { ($0.key.range, $0.value) })
  }
}

/// The first byte that is not part of valid UTF-8, or nil.
package func firstInvalidUTF8(_ bytes: Span<UInt8>) -> Int? {
  do {
    _ = try UTF8Span(validating: bytes)
    return nil
  } catch {
    return error.byteOffsets.lowerBound
  }
}

/// A header's table while it is read: rows first in the order of the text, then of the names.
private struct HeaderTable {
  /// A JSON error, and the tensor that it is in.
  struct ReadError: Error {
    var json: JSONError
    var tensor: TensorName?
  }

  var text: [UInt8] = []
  var dimensions: [UInt64] = []
  var records: [Header.Record] = []
  var metadata: [(key: JSONCursor.Key, value: Range<Int>)] = []

  private func tensorName(_ record: Header.Record) -> TensorName {
    TensorName(utf8: record.name(in: text))
  }

  private func fileOffset(_ record: Header.Record) -> UInt64 {
    HeaderPrefix.size + UInt64(record.keyOffset)
  }
  // MARK: Check 5, JSON

  mutating func read(_ json: Span<UInt8>) throws(ReadError) {
    var cursor = JSONCursor(json)
    var tensor: Range<Int>?
    do throws(JSONError) {
      try cursor.beginObject("the header's '{'")
      var hasMetadata = false
      while let key = try cursor.nextKey(into: &text) {
        if text[key.range].elementsEqual("__metadata__".utf8) {
          guard !hasMetadata else {
            throw JSONError(offset: key.offset, problem: "duplicate __metadata__")
          }
          hasMetadata = true
          text.removeSubrange(key.range)
          try readMetadata(&cursor)
        } else {
          tensor = key.range
          try readTensor(&cursor, key: key)
          tensor = nil
        }
      }
      try cursor.expectEnd()
    } catch {
      throw ReadError(json: error, tensor: tensor.map { TensorName(utf8: text[$0]) })
    }
  }

  private mutating func readMetadata(_ cursor: inout JSONCursor) throws(JSONError) {
    if try cursor.consumeNull() { return }
    try cursor.beginObject("an object of strings")
    while let key = try cursor.nextKey(into: &text) {
      let value = try cursor.string("a string, as every value of __metadata__ must be", into: &text)
      metadata.append((key, value))
    }
  }

  private mutating func readTensor(_ cursor: inout JSONCursor, key name: JSONCursor.Key) throws(JSONError) {
    cursor.skipWhitespace()
    let objectOffset = cursor.offset
    var dtype: DType?
    var shape: Range<Int>?
    var offsets: (begin: UInt64, end: UInt64)?

    try cursor.beginObject("an object with dtype, shape and data_offsets")
    while let key = try cursor.nextKey(into: &text) {
      let field = Field(text[key.range])
      text.removeSubrange(key.range)
      switch field {
      case .dtype where dtype == nil:
        dtype = try readDType(&cursor)
      case .shape where shape == nil:
        shape = try readShape(&cursor)
      case .dataOffsets where offsets == nil:
        offsets = try readOffsets(&cursor)
      case .dtype, .shape, .dataOffsets:
        throw JSONError(offset: key.offset, problem: "duplicate field")
      case nil:
        try cursor.skipValue(scratch: &text)
      }
    }
    guard let dtype else { throw JSONError(offset: objectOffset, problem: "no dtype") }
    guard let shape else { throw JSONError(offset: objectOffset, problem: "no shape") }
    guard let offsets else {
      throw JSONError(offset: objectOffset, problem: "no data_offsets")
    }
    // The conversions hold: every one counts bytes of a header of at most 100,000,000.
    records.append(
      Header.Record(
        nameStart: UInt32(name.range.lowerBound), nameCount: UInt32(name.range.count),
        shapeStart: UInt32(shape.lowerBound), shapeCount: UInt32(shape.count),
        keyOffset: UInt32(name.offset), dtype: dtype, begin: offsets.begin, end: offsets.end))
  }

  /// The fields of a tensor's object in the format.
  private enum Field {
    case dtype, shape, dataOffsets

    private static let byKey: [(key: ArraySlice<UInt8>, field: Field)] = [
      (ArraySlice("dtype".utf8), .dtype), (ArraySlice("shape".utf8), .shape),
      (ArraySlice("data_offsets".utf8), .dataOffsets),
    ]

    init?(_ key: ArraySlice<UInt8>) {
      guard let known = Self.byKey.first(where: { $0.key == key }) else { return nil }
      self = known.field
    }
  }

  private mutating func readDType(_ cursor: inout JSONCursor) throws(JSONError) -> DType {
    cursor.skipWhitespace()
    let offset = cursor.offset
    let range = try cursor.string("a dtype's name", into: &text)
    let name = Array(text[range])
    text.removeSubrange(range)
    guard let dtype = DType(utf8: name) else {
      throw JSONError(offset: offset, problem: "\(PrintableText.quoted(name)) is not a safetensors dtype")
    }
    return dtype
  }

  private mutating func readShape(_ cursor: inout JSONCursor) throws(JSONError) -> Range<Int> {
    let start = dimensions.count
    try cursor.beginArray("an array of dimensions")
    while try cursor.nextElement() { dimensions.append(try cursor.unsignedInteger()) }
    return start..<dimensions.count
  }

  private mutating func readOffsets(_ cursor: inout JSONCursor) throws(JSONError)
    -> (begin: UInt64, end: UInt64)
  {
    try cursor.beginArray("an array of two offsets")
    guard try cursor.nextElement() else { throw cursor.error("data_offsets is empty") }
    let begin = try cursor.unsignedInteger()
    guard try cursor.nextElement() else { throw cursor.error("data_offsets has only one number") }
    let end = try cursor.unsignedInteger()
    guard try !cursor.nextElement() else {
      throw cursor.error("data_offsets has more than two numbers")
    }
    return (begin, end)
  }

  // MARK: Duplicates

  /// Sorts the rows by name, and refuses a duplicate name or metadata key.
  mutating func sortByName() throws(HeaderError) {
    let text = self.text
    records.sort { compareBytes($0.name(in: text), $1.name(in: text)) < 0 }
    for (left, right) in zip(records, records.dropFirst())
    where compareBytes(left.name(in: text), right.name(in: text)) == 0 {
      let second = left.keyOffset > right.keyOffset ? left : right
      throw .duplicateTensor(offset: fileOffset(second), tensor: tensorName(second))
    }
    metadata.sort { compareBytes(text[$0.key.range], text[$1.key.range]) < 0 }
    for ((left, _), (right, _)) in zip(metadata, metadata.dropFirst())
    where compareBytes(text[left.range], text[right.range]) == 0 {
      throw .duplicateMetadataKey(
        offset: HeaderPrefix.size + UInt64(max(left.offset, right.offset)),
        key: TensorName(utf8: text[left.range]))
    }
  }

  // MARK: Check 6, layout

  /// Checks each tensor in the order of the data, and returns the end of the data.
  func checkLayout() throws(HeaderError) -> UInt64 {
    let order = records.indices.sorted {
      (records[$0].begin, records[$0].end) < (records[$1].begin, records[$1].end)
    }
    var expected: UInt64 = 0
    for index in order {
      let record = records[index]
      guard record.begin == expected, record.begin <= record.end else {
        throw .invalidOffset(
          offset: fileOffset(record), tensor: tensorName(record), begin: record.begin, end: record.end,
          expected: expected)
      }
      expected = record.end
      let bits = try bitCount(record)
      guard bits % 8 == 0 else {
        throw .misalignedSlice(offset: fileOffset(record), tensor: tensorName(record), bits: bits)
      }
      guard bits / 8 == record.end - record.begin else {
        throw .tensorInvalidInfo(
          offset: fileOffset(record), tensor: tensorName(record),
          declared: record.end - record.begin, computed: bits / 8)
      }
    }
    return expected
  }

  /// The tensor's size in bits.
  private func bitCount(_ record: Header.Record) throws(HeaderError) -> UInt64 {
    let start = Int(record.shapeStart)
    let shape = dimensions[start..<start + Int(record.shapeCount)]
    guard let bits = record.dtype.bitCount(of: shape) else {
      throw .validationOverflow(offset: fileOffset(record), tensor: tensorName(record))
    }
    return bits
  }
}
