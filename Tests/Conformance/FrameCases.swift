import Fixtures
import Safetensors

extension ConformanceCase {
  /// The length before the header, the size of the file, and bytes around the JSON.
  package static let frame: [Self] = [
    .refused("An empty file", [], "HeaderTooSmall"),
    .refused("7 bytes", Array(repeating: 0, count: 7), "HeaderTooSmall"),
    .refused("A header of no bytes", file(""), "InvalidHeaderDeserialization"),
    .refused("A header of one brace", file("{"), "InvalidHeaderDeserialization"),
    .accepted("No tensors at all", file("{}")),
    .refused("An array for a header", file("[]"), "InvalidHeaderDeserialization"),
    .refused("null for a header", file("null"), "InvalidHeaderDeserialization"),
    .accepted("Spaces before the JSON", file("  {}")),
    .accepted("A line feed and a tab before the JSON", file("\n\t{}")),
    .refused("A byte order mark", file("\u{FEFF}{}"), "InvalidHeaderDeserialization"),
    .refused("NUL padding", file("{}\0\0"), "InvalidHeaderDeserialization"),
    .refused("A letter after the JSON", file("{}x"), "InvalidHeaderDeserialization"),
    .accepted("All four kinds of whitespace after the JSON", file("{}\t\n\r ")),
    .refused("A no-break space after the JSON", file("{}\u{A0}"), "InvalidHeaderDeserialization"),
    .refused("A vertical tab inside the JSON", file("{\u{B}}"), "InvalidHeaderDeserialization"),
    .refused("Two JSON texts", file("{}{}"), "InvalidHeaderDeserialization"),
    .refused("A length of 2^63", [0, 0, 0, 0, 0, 0, 0, 0x80] + Array("{}".utf8), "HeaderTooLarge"),
    .refused("A length of 2^64 - 1", Array(repeating: 0xFF, count: 8) + Array("{}".utf8), "HeaderTooLarge"),
    .refused(
      "A length of 100,000,001", [0x01, 0xE1, 0xF5, 0x05, 0, 0, 0, 0] + Array("{}".utf8), "HeaderTooLarge"),
    .refused(
      "A length of 100,000,000 in a short file", [0x00, 0xE1, 0xF5, 0x05, 0, 0, 0, 0] + Array("{}".utf8),
      "InvalidHeaderLength"),
    .refused(
      "A length one past the end of the file", [3, 0, 0, 0, 0, 0, 0, 0] + Array("{}".utf8),
      "InvalidHeaderLength"),
    .refused(
      "A length that cuts the header in two", [5, 0, 0, 0, 0, 0, 0, 0] + one().bytes.dropFirst(8),
      "InvalidHeaderDeserialization"),
    .refused("A byte too many after the tensor", one(data: "xy"), "MetadataIncompleteBuffer"),
    .refused("A byte too few for the tensor", one(data: ""), "MetadataIncompleteBuffer"),
    .refused("Data without a tensor", file("{}", "x"), "MetadataIncompleteBuffer"),
    .refused("A byte that is not UTF-8", .init(header: [0xFF]), "InvalidHeader"),
    .refused("UTF-16", file("{\0}\0"), "InvalidHeaderDeserialization"),
    .refused(
      "An overlong NUL", .init(header: Array("{\"".utf8) + [0xC0, 0x80] + Array("\"".utf8)), "InvalidHeader"),
    .refused(
      "A surrogate as three bytes",
      .init(
        header: Array("{\"".utf8) + [0xED, 0xA0, 0xBD]
          + Array(#"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.utf8),
        data: Array("x".utf8)), "InvalidHeader"),
    .refused(
      "A trailing comma", file(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},}"#, "x"),
      "InvalidHeaderDeserialization"),
    .refused("A comment", file("{/*x*/}"), "InvalidHeaderDeserialization"),
    .refused("Single quotes", file("{'a':1}"), "InvalidHeaderDeserialization"),
  ]

  /// `__metadata__`.
  package static let metadata: [Self] = [
    .refused(
      "__metadata__ twice", file(#"{"__metadata__":{"a":"1"},"__metadata__":{"b":"1"}}"#),
      "InvalidHeaderDeserialization"),
    .stricter(
      "A key twice in __metadata__", file(#"{"__metadata__":{"a":"1","a":"2"}}"#),
      .duplicateMetadataKey(offset: 33, key: TensorName("a"))),
    .accepted("null for __metadata__", file(#"{"__metadata__":null}"#)),
    .refused(
      "A number in __metadata__", file(#"{"__metadata__":{"a":1}}"#), "InvalidHeaderDeserialization"),
    .refused("null in __metadata__", file(#"{"__metadata__":{"a":null}}"#), "InvalidHeaderDeserialization"),
    .refused(
      "An object in __metadata__", file(#"{"__metadata__":{"a":{"b":"c"}}}"#),
      "InvalidHeaderDeserialization"),
    .refused("An array for __metadata__", file(#"{"__metadata__":[]}"#), "InvalidHeaderDeserialization"),
    .refused("A string for __metadata__", file(#"{"__metadata__":"x"}"#), "InvalidHeaderDeserialization"),
    .refused("A tensor called __metadata__", one(name: #""__metadata__""#), "InvalidHeaderDeserialization"),
    .accepted("An empty __metadata__", file(#"{"__metadata__":{}}"#)),
    .accepted(
      "__metadata__ after the tensors",
      file(
        #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"__metadata__":{"k":"v"}}"#, "x"),
      .tensor(), metadata: ["k": "v"]),
    .accepted(
      "__metadata__ spelled with an escape", file(#"{"\u005f_metadata__":{"k":"v"}}"#), metadata: ["k": "v"]),
    .stricter(
      "A name that begins like __metadata__, its tensor as an array",
      file(#"{"__metadata__x":["U8",[1],[0,1]]}"#, "x"),
      .invalidHeaderDeserialization(
        offset: 25, problem: "expected an object with dtype, shape and data_offsets, found '['",
        tensor: TensorName("__metadata__x"))),
  ]
}
