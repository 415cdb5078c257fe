import Fixtures
import Safetensors

/// A whole file: its tensors lie in it, cover it, have the sizes that their types and shapes ask for, and can be
/// written again.
enum HeaderFuzzer: Fuzzer {
  static var seeds: [[UInt8]] {
    let tensors: [SafetensorsFile.Tensor] = [
      .init("b", "F32", [2, 3]), .init("a", "BF16", []), .init("é\n", "F4", [4]), .init("z", "I64", [0, 7]),
    ]
    let texts = [
      "{}", #"{"__metadata__":{"format":"pt","\u0000\ud83d\ude00":""}}"#,
      #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}"#,
      #"{"a":{"shape":[18446744073709551615,2],"dtype":"F8_E8M0","data_offsets":[0,1e0],"x":[null,{"y":-0.5E+3}]}}"#,
      #" {"a":["F6_E2M3",[4],[0,3]]} "#,
    ]
    return [SafetensorsFile(tensors, metadata: ["k": "v", "format": "pt"]).bytes]
      + texts.map { SafetensorsFile(header: $0, data: [0]).bytes }
  }

  static func read(_ bytes: [UInt8]) {
    let size = UInt64(bytes.count)
    guard let header = header(bytes) else { return }
    require(header.dataStart <= size, "the data begins behind the end")
    var covered: UInt64 = 0
    for index in 0..<header.count {
      let tensor = header[index]
      require(header.index(of: tensor.name) == index, "\(tensor.name) is not found by its name")
      require(index == 0 || header.name(at: index - 1) < tensor.name, "\(tensor.name) is out of order")
      require(tensor.dataRange.upperBound <= size - header.dataStart, "\(tensor.name) goes beyond the end")
      require(tensor.dtype.byteCount(of: tensor.shape) == tensor.byteCount, "\(tensor.name) has another size")
      covered += tensor.byteCount
    }
    require(header.dataStart + covered + header.trailingBytes == size, "tensors overlap, or leave holes")

    let tensors = (0..<header.count).map { header[$0] }
    let written = HeaderWriter(metadata: header.metadata).pieces(tensors).flatMap(\.self)
    let data = repeatElement(0 as UInt8, count: Int(covered))
    guard let again = Self.header(written + data) else { fatalError("what was written is not read") }
    require(again.count == header.count && again.trailingBytes == 0, "other tensors were written")
    for index in 0..<again.count {
      let (old, new) = (header[index], again[index])
      require(
        old.name == new.name && old.dtype == new.dtype && old.shape == new.shape
          && old.dataRange == new.dataRange,
        "\(old.name) was written otherwise")
    }
    require(
      again.metadata.map { [$0.key, $0.value] } == header.metadata.map { [$0.key, $0.value] },
      "other metadata was written")
  }

  /// Leniently, so that more is looked at.
  private static func header(_ bytes: [UInt8]) -> Header? {
    let size = UInt64(bytes.count)
    guard
      let length = try? HeaderPrefix.length(
        start: Array(bytes.prefix(ForeignFormat.prefixSize)), fileSize: size)
    else { return nil }
    let start = Int(HeaderPrefix.size)
    return try? Header(
      json: bytes.span.extracting(start..<start + length), fileSize: size, allowsTrailingBytes: true)
  }
}
