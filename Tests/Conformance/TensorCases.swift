import Fixtures
import Safetensors

extension ConformanceCase {
  /// The fields of a tensor's object.
  package static let fields: [Self] = [
    .refused(
      "A field twice", file(#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, "x"),
      "InvalidHeaderDeserialization"),
    .accepted("An unknown field", one(more: #","zzz":[1,{"q":2}]"#), .tensor()),
    .accepted("An unknown field twice", one(more: #","z":1,"z":2"#), .tensor()),
    .refused(
      "No dtype", file(#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, "x"), "InvalidHeaderDeserialization"),
    .refused(
      "No shape", file(#"{"a":{"dtype":"U8","data_offsets":[0,1]}}"#, "x"), "InvalidHeaderDeserialization"),
    .refused(
      "No data_offsets", file(#"{"a":{"dtype":"U8","shape":[1]}}"#, "x"), "InvalidHeaderDeserialization"),
    .stricter(
      "A tensor as an array", file(#"{"a":["U8",[1],[0,1]]}"#, "x"),
      .invalidHeaderDeserialization(
        offset: 13, problem: "expected an object with dtype, shape and data_offsets, found '['",
        tensor: TensorName("a"))),
    .refused(
      "A tensor as an array of four", file(#"{"a":["U8",[1],[0,1],7]}"#, "x"),
      "InvalidHeaderDeserialization"),
    .stricter(
      "A tensor as an array with its dtype as an object", file(#"{"a":[{"U8":null},[1],[0,1]]}"#, "x"),
      .invalidHeaderDeserialization(
        offset: 13, problem: "expected an object with dtype, shape and data_offsets, found '['",
        tensor: TensorName("a"))),
    .refused("A string for a tensor", file(#"{"a":"b"}"#), "InvalidHeaderDeserialization"),
    .refused("null for a tensor", file(#"{"a":null}"#), "InvalidHeaderDeserialization"),
    .accepted(
      "The field dtype spelled with an escape",
      file(#"{"a":{"dtyp\u0065":"U8","shape":[1],"data_offsets":[0,1]}}"#, "x"), .tensor()),
    .refused("NaN in an unknown field", one(more: #","z":NaN"#), "InvalidHeaderDeserialization"),
    .refused("1e999 in an unknown field", one(more: #","z":1e999"#), "InvalidHeaderDeserialization"),
    .accepted("100 arrays in one another in an unknown field", one(more: nested(100)), .tensor()),
    .refused(
      "126 arrays in one another in an unknown field", one(more: nested(126)), "InvalidHeaderDeserialization"),
    .refused(
      "200 arrays in one another in an unknown field", one(more: nested(200)), "InvalidHeaderDeserialization"),
  ]

  private static func nested(_ depth: Int) -> String {
    #","z":"# + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
  }

  /// Dtypes.
  package static let dtypes: [Self] = [
    .stricter(
      "A dtype as an object", one(dtype: #"{"U8":null}"#),
      .invalidHeaderDeserialization(
        offset: 22, problem: "expected a dtype's name, found '{'", tensor: TensorName("a"))),
    .refused(
      "A dtype as an object of an object", one(dtype: #"{"U8":{}}"#), "InvalidHeaderDeserialization"),
    .refused("A dtype as a number", one(dtype: "4"), "InvalidHeaderDeserialization"),
    .refused("A dtype in lower case", one(dtype: #""u8""#), "InvalidHeaderDeserialization"),
    .refused("I4, which there is not", one(dtype: #""I4""#, shape: "[2]"), "InvalidHeaderDeserialization"),
    .refused(
      "F8_E4M3FN, which is called F8_E4M3", one(dtype: #""F8_E4M3FN""#), "InvalidHeaderDeserialization"),
    .refused(
      "C128, which there is not",
      one(dtype: #""C128""#, offsets: "[0,16]", data: String(repeating: "x", count: 16)),
      "InvalidHeaderDeserialization"),
    .accepted(
      "C64", one(dtype: #""C64""#, offsets: "[0,8]", data: "xxxxxxxx"), .tensor("a", "C64", [1], 0..<8)),
    .accepted("U8 spelled with an escape", one(dtype: #""\u00558""#), .tensor()),
    .refused(
      "Three elements of 4 bits", one(dtype: #""F4""#, shape: "[3]", offsets: "[0,2]", data: "xx"),
      "MisalignedSlice"),
    .accepted("Two elements of 4 bits", one(dtype: #""F4""#, shape: "[2]"), .tensor("a", "F4", [2])),
    .refused("A scalar of 4 bits", one(dtype: #""F4""#, shape: "[]"), "MisalignedSlice"),
    .accepted(
      "Four elements of 6 bits", one(dtype: #""F6_E2M3""#, shape: "[4]", offsets: "[0,3]", data: "xxx"),
      .tensor("a", "F6_E2M3", [4], 0..<3)),
    .refused(
      "Two elements of 6 bits", one(dtype: #""F6_E3M2""#, shape: "[2]", offsets: "[0,2]", data: "xx"),
      "MisalignedSlice"),
    .accepted("A BOOL that is 7", one(dtype: #""BOOL""#, data: "\u{7}"), .tensor("a", "BOOL")),
  ]

  /// Shapes that agree or disagree with the offsets.
  package static let shapes: [Self] = [
    .refused("null for a shape", one(shape: "null"), "InvalidHeaderDeserialization"),
    .refused("A negative dimension", one(shape: "[-1]"), "InvalidHeaderDeserialization"),
    .refused("A dimension of 1.0", one(shape: "[1.0]"), "InvalidHeaderDeserialization"),
    .refused("A dimension of 1e0", one(shape: "[1e0]"), "InvalidHeaderDeserialization"),
    .refused("A dimension in quotes", one(shape: #"["1"]"#), "InvalidHeaderDeserialization"),
    .refused(
      "A dimension of -0", one(shape: "[-0]", offsets: "[0,0]", data: ""), "InvalidHeaderDeserialization"),
    .refused("A dimension of 01", one(shape: "[01]"), "InvalidHeaderDeserialization"),
    .refused("A dimension of +1", one(shape: "[+1]"), "InvalidHeaderDeserialization"),
    .refused("A dimension of true", one(shape: "[true]"), "InvalidHeaderDeserialization"),
    .refused("A dimension of 2^64", one(shape: "[18446744073709551616]"), "InvalidHeaderDeserialization"),
    .refused(
      "2^63 times 4 times 0, which overflows on the way",
      one(shape: "[9223372036854775808,4,0]", offsets: "[0,0]", data: ""), "ValidationOverflow"),
    .accepted(
      "0 times 2^63 times 4, which does not",
      one(shape: "[0,9223372036854775808,4]", offsets: "[0,0]", data: ""),
      .tensor("a", "U8", [0, 1 << 63, 4], 0..<0)),
    .accepted(
      "10,000 dimensions",
      one(shape: "[" + Array(repeating: "1", count: 10_000).joined(separator: ",") + "]"),
      .tensor("a", "U8", Array(repeating: 1, count: 10_000))),
    .refused("A scalar of no bytes", one(shape: "[]", offsets: "[0,0]", data: ""), "TensorInvalidInfo"),
  ]
}
