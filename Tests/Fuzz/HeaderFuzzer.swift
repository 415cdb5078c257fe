import Conformance
import Fixtures

@testable import Models
@testable import Safetensors
@testable import TensorFiles

/// The reader of headers, and the writer with every header that the reader accepts. An input is a whole file, or only a header.
enum HeaderFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    ConformanceCase.all.flatMap { [$0.bytes, Array($0.bytes.dropFirst(Int(HeaderPrefix.size)))] }
  }

  static var words: [String] {
    [
      "\"dtype\":", "\"shape\":[", "\"data_offsets\":[", "\"__metadata__\":{", "null", "\\u",
      "\\ud83d\\ude00",
    ]
      + DType.allCases.map { "\"\($0.name)\"" }
  }

  static func test(_ input: [UInt8]) {
    for lenient in [false, true] { _ = read(input, lenient: lenient) }
    guard let header = header(of: input) else { return }
    // The file has exactly the size that the tensors need.
    let end = (0..<header.count).map { header[$0].dataRange.upperBound }.max() ?? 0
    let size = header.dataStart + end
    let exact = try? Header(json: input.span, fileSize: size)
    require(exact?.trailingBytes == 0, "a file of the right size is refused")
    require((try? Header(json: input.span, fileSize: size + 1)) == nil, "a byte too many is accepted")
    require(
      (try? Header(json: input.span, fileSize: size - 1, allowsTrailingBytes: true)) == nil,
      "a byte too few is accepted")
    rewrite(header, end: end, of: input)
  }

  /// The header in an input if it is valid for a file of any size.
  static func header(of json: [UInt8]) -> Header? {
    do throws(HeaderError) {
      // The number is larger than any file, and the sum of two such numbers does not overflow.
      let header = try Header(json: json.span, fileSize: 1 << 63, allowsTrailingBytes: true)
      check(header, fileSize: 1 << 63)
      require((try? JSONValue(parsing: json)) != nil, "it is accepted, and no JSON")
      return header
    } catch {
      requirePrintable(error.description)
      return nil
    }
  }

  private static func read(_ file: [UInt8], lenient: Bool) -> Header? {
    do throws(HeaderError) {
      let size = UInt64(file.count)
      let length = try HeaderPrefix.length(
        start: Array(file.prefix(ForeignFormat.prefixSize)), fileSize: size)
      let start = Int(HeaderPrefix.size)
      let header = try Header(
        json: file.span.extracting(start..<start + length), fileSize: size, allowsTrailingBytes: lenient)
      check(header, fileSize: size)
      require(lenient || header.trailingBytes == 0, "bytes are left over")
      return header
    } catch {
      requirePrintable(error.description)
      return nil
    }
  }

  /// Requires what `Header` promises.
  private static func check(_ header: Header, fileSize: UInt64) {
    require(header.dataStart <= fileSize, "the data begins past the file's end")
    let tensors = (0..<header.count).map { header[$0] }
    for (index, tensor) in tensors.enumerated() {
      requireText(tensor.name.utf8)
      require(header.index(of: tensor.name) == index, "\(tensor.name) is not found by its name")
      require(
        tensor.byteCount == size(of: tensor),
        "\(tensor.name) has another size than its dtype and shape ask for")
    }
    for (left, right) in zip(tensors, tensors.dropFirst()) {
      require(
        left.name.utf8.lexicographicallyPrecedes(right.name.utf8), "\(left.name) comes before \(right.name)")
    }
    // The tensors are contiguous, up to the end of the file.
    var end: UInt64 = 0
    for tensor in tensors.sorted(by: {
      ($0.dataRange.lowerBound, $0.dataRange.upperBound) < ($1.dataRange.lowerBound, $1.dataRange.upperBound)
    }) {
      require(tensor.dataRange.lowerBound == end, "\(tensor.name) overlaps another, or leaves a hole")
      end = tensor.dataRange.upperBound
    }
    require(end == fileSize - header.dataStart - header.trailingBytes, "the data does not end with the file")
    let keys = header.metadata.map(\.key)
    for (key, value) in header.metadata { for text in [key, value] { requireText(text) } }
    for (left, right) in zip(keys, keys.dropFirst()) {
      require(left.lexicographicallyPrecedes(right), "metadata's keys are not in order, or have a duplicate")
    }
  }

  private static func requireText(_ bytes: ArraySlice<UInt8>) {
    require(String(validating: bytes, as: UTF8.self) != nil, "a text is not UTF-8")
  }

  /// The size in bytes, computed in another way than the reader does; nil if it is invalid.
  private static func size(of tensor: Tensor) -> UInt64? {
    if tensor.shape.contains(0) { return 0 }
    var bits = tensor.dtype.bitSize
    for dimension in tensor.shape {
      let (product, overflow) = bits.multipliedReportingOverflow(by: dimension)
      if overflow { return nil }
      bits = product
    }
    return bits % 8 == 0 ? bits / 8 : nil
  }

  /// Writes the header, and reads it back.
  private static func rewrite(_ header: Header, end: UInt64, of json: [UInt8]) {
    let tensors = (0..<header.count).map { header[$0] }
    let written = HeaderWriter(metadata: header.metadata).pieces(tensors).flatMap { $0 }
    require(written.count % 8 == 0, "the data does not begin at a multiple of 8")
    let text = written.dropFirst(Int(HeaderPrefix.size))
    let count = text.count - text.reversed().prefix { $0 == UInt8(ascii: " ") }.count
    require(count <= json.count, "a header of \(json.count) bytes becomes one of \(count)")
    let size = UInt64(written.count) + end
    let length = try? HeaderPrefix.length(
      start: Array(written.prefix(ForeignFormat.prefixSize)), fileSize: size)
    require(length == text.count, "a header that was written has another length")
    guard let again = try? Header(json: Array(text).span, fileSize: size) else {
      fatalError("a header that was written is refused")
    }
    require(
      tensors.elementsEqual((0..<again.count).map { again[$0] }) {
        $0.name == $1.name && $0.dtype == $1.dtype && $0.shape == $1.shape && $0.dataRange == $1.dataRange
      }, "tensors are not read as they were written")
    require(
      header.metadata.elementsEqual(again.metadata) { $0.key == $1.key && $0.value == $1.value },
      "metadata is not read as it was written")
  }
}
