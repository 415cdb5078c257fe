import Fixtures
import Safetensors

extension ConformanceCase {
  /// Offsets: the tensors are contiguous, and cover the data.
  package static let layout: [Self] = [
    .refused("Three offsets", one(offsets: "[0,1,2]"), "InvalidHeaderDeserialization"),
    .refused("One offset", one(offsets: "[0]"), "InvalidHeaderDeserialization"),
    .refused("An end before the begin", one(offsets: "[1,0]"), "InvalidOffset"),
    .refused(
      "An end of 2^64 - 1", one(shape: "[18446744073709551615]", offsets: "[0,18446744073709551615]"),
      "ValidationOverflow"),
    .refused(
      "An end of 2^61 - 1, whose bits fit",
      one(shape: "[2305843009213693951]", offsets: "[0,2305843009213693951]"), "MetadataIncompleteBuffer"),
    .refused(
      "Offsets of 2^63", one(shape: "[0]", offsets: "[9223372036854775808,9223372036854775808]", data: ""),
      "InvalidOffset"),
    .accepted(
      "An empty tensor of 4 bits", one(dtype: #""F4""#, shape: "[0]", offsets: "[0,0]", data: ""),
      .tensor("a", "F4", [0], 0..<0)),
    .accepted(
      "Two empty tensors at one place", several(("a", 0, 0, 0), ("b", 0, 0, 0), data: ""),
      .tensor("a", "U8", [0], 0..<0), .tensor("b", "U8", [0], 0..<0)),
    .accepted(
      "An empty tensor at the start, named last", several(("a", 1, 0, 1), ("b", 0, 0, 0), data: "x"),
      .tensor(), .tensor("b", "U8", [0], 0..<0)),
    .accepted(
      "An empty tensor at the end", several(("a", 1, 0, 1), ("b", 0, 1, 1), data: "x"),
      .tensor(), .tensor("b", "U8", [0], 1..<1)),
    .refused(
      "An empty tensor past the end", several(("a", 1, 0, 1), ("b", 0, 7, 7), data: "x"), "InvalidOffset"),
    .refused(
      "An empty tensor inside another", several(("a", 2, 0, 2), ("b", 0, 1, 1), data: "xy"), "InvalidOffset"),
    .refused("Only an empty tensor, past the end", several(("b", 0, 5, 5), data: ""), "InvalidOffset"),
    .accepted(
      "Names in another order than the data", several(("b", 1, 1, 2), ("a", 1, 0, 1), data: "xy"),
      .tensor(), .tensor("b", "U8", [1], 1..<2)),
    .refused("A hole at the start", several(("b", 1, 1, 2), data: "xy"), "InvalidOffset"),
    .refused("A hole in the middle", several(("a", 1, 0, 1), ("b", 1, 2, 3), data: "xyz"), "InvalidOffset"),
    .refused("An overlap", several(("a", 2, 0, 2), ("b", 2, 1, 3), data: "xyz"), "InvalidOffset"),
    .refused("Shared bytes", several(("a", 1, 0, 1), ("b", 1, 0, 1), data: "x"), "InvalidOffset"),
    .accepted(
      "A header whose length is no multiple of 8", one(dtype: #""F32""#, offsets: "[0,4]", data: "xxxx"),
      .tensor("a", "F32", [1], 0..<4)),
    .accepted(
      "An F32 at byte 1",
      file(
        #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
          + #""b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#, "xxxxx"),
      .tensor(), .tensor("b", "F32", [1], 1..<5)),
    .refused("8 tensors that end at 2^64 - 8", huge(withLast: false), "MetadataIncompleteBuffer"),
    .refused("9 tensors that end at 2^64 - 1", huge(withLast: true), "MetadataIncompleteBuffer"),
  ]

  /// Tensors of 2^61 - 1 bytes, the largest size whose number of bits fits into 64 bits.
  private static func huge(withLast: Bool) -> SafetensorsFile {
    let size: UInt64 = (1 << 61) - 1
    var entries = (0..<UInt64(8)).map { position in
      #""t\#(position)":{"dtype":"U8","shape":[\#(size)],"#
        + #""data_offsets":[\#(position * size),\#((position + 1) * size)]}"#
    }
    if withLast {
      entries.append(#""z":{"dtype":"U8","shape":[7],"data_offsets":[\#(8 * size),\#(UInt64.max)]}"#)
    }
    return file("{" + entries.joined(separator: ",") + "}")
  }

  /// Two tensors with the same name.
  package static let duplicates: [Self] = [
    .stricter(
      "A tensor twice, word for word", several(("a", 1, 0, 1), ("a", 1, 0, 1), data: "x"),
      .duplicateTensor(offset: 61, tensor: TensorName("a"))),
    .stricter(
      "A tensor twice, the last one sound", several(("a", 9, 0, 9), ("a", 1, 0, 1), data: "x"),
      .duplicateTensor(offset: 61, tensor: TensorName("a"))),
    .stricter(
      "A tensor twice, the last one unsound", several(("a", 1, 0, 1), ("a", 9, 0, 9), data: "x"),
      .duplicateTensor(offset: 61, tensor: TensorName("a")), reference: "MetadataIncompleteBuffer"),
    .stricter(
      "A tensor twice, once with an escape", several(("a", 1, 0, 1), (#"\u0061"#, 1, 0, 1), data: "x"),
      .duplicateTensor(offset: 61, tensor: TensorName("a"))),
    .stricter(
      "A tensor twice, the first one filling a hole",
      several(("a", 1, 0, 1), ("b", 1, 1, 2), ("a", 0, 0, 0), data: "xy"),
      .duplicateTensor(offset: 113, tensor: TensorName("a")), reference: "InvalidOffset"),
  ]

  /// Names that are allowed.
  package static let names: [Self] = [
    .accepted("An empty name", one(name: #""""#), .tensor("")),
    .accepted("A slash", one(name: #""a/b""#), .tensor("a/b")),
    .accepted("An escaped slash", one(name: #""a\/b""#), .tensor("a/b")),
    .accepted("A path that climbs", one(name: #""../../etc/passwd""#), .tensor("../../etc/passwd")),
    .accepted("An escaped NUL", one(name: #""a\u0000b""#), .tensor("a\0b")),
    .refused("A raw NUL", one(name: "\"a\0b\""), "InvalidHeaderDeserialization"),
    .refused("A raw line feed", one(name: "\"a\nb\""), "InvalidHeaderDeserialization"),
    .accepted("An escaped line feed", one(name: #""a\nb""#), .tensor("a\nb")),
    .accepted("DEL and a C1 control", one(name: "\"a\u{7F}\u{80}\""), .tensor("a\u{7F}\u{80}")),
    .accepted("Noncharacters", one(name: "\"\u{FFFE}\u{10FFFF}\""), .tensor("\u{FFFE}\u{10FFFF}")),
    .accepted("An emoji", one(name: "\"\u{1F600}\""), .tensor("\u{1F600}")),
    .accepted("An escaped surrogate pair", one(name: #""\ud83d\ude00""#), .tensor("\u{1F600}")),
    .refused("An escaped lone surrogate", one(name: #""\ud83d""#), "InvalidHeaderDeserialization"),
    .accepted(
      "100,000 letters", one(name: "\"" + String(repeating: "n", count: 100_000) + "\""),
      .tensor(String(repeating: "n", count: 100_000))),
    .accepted(
      "One letter composed and decomposed", several(("\u{E9}", 0, 0, 0), ("e\u{301}", 1, 0, 1), data: "x"),
      .tensor("e\u{301}", "U8", [1], 0..<1), .tensor("\u{E9}", "U8", [0], 0..<0)),
    .accepted(
      "Names that differ in case", several(("A", 0, 0, 0), ("a", 1, 0, 1), data: "x"),
      .tensor("A", "U8", [0], 0..<0), .tensor()),
  ]
}
