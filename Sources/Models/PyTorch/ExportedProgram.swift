internal import PyTorch
internal import Safetensors

/// Reads the JSON of torch.export's archives: `{"config": {NAME: {"path_name": …, "use_pickle": false,
/// "tensor_meta": {"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 1}], "storage_offset":
/// {"as_int": 0}}}}}`.
enum ExportedProgram {
  /// The tensors that the text describes; nil if it is not such a description.
  static func tensors(_ json: [UInt8]) -> [ExportedTensor]? {
    guard (try? UTF8Span(validating: json.span)) != nil else { return nil }
    do throws(JSONError) {
      var cursor = JSONCursor(json.span)
      var text: [UInt8] = []
      var found: [ExportedTensor] = []
      try cursor.beginObject()
      while let key = try key(&cursor, &text) {
        guard key == "config" else {
          try cursor.skipValue(scratch: &text)
          continue
        }
        try cursor.beginObject()
        while let name = try cursor.nextKey(into: &text) {
          let bytes = Array(text[name.range])
          text.removeSubrange(name.range)
          found.append(try tensor(bytes, &cursor, &text))
        }
      }
      try cursor.expectEnd()
      return found
    } catch {
      return nil
    }
  }

  /// The next key of an object.
  private static func key(_ cursor: inout JSONCursor, _ text: inout [UInt8]) throws(JSONError) -> String? {
    guard let key = try cursor.nextKey(into: &text) else { return nil }
    let name = String(decoding: text[key.range], as: UTF8.self)
    text.removeSubrange(key.range)
    return name
  }

  private static func tensor(_ name: [UInt8], _ cursor: inout JSONCursor, _ text: inout [UInt8])
    throws(JSONError) -> ExportedTensor
  {
    var tensor = ExportedTensor(
      name: name, path: [], type: 0, shape: [], strides: [], offset: 0, isPickled: false)
    try cursor.beginObject()
    while let key = try key(&cursor, &text) {
      switch key {
      case "path_name":
        let range = try cursor.string(into: &text)
        tensor.path = Array(text[range])
        text.removeSubrange(range)
      case "use_pickle":
        cursor.skipWhitespace()
        tensor.isPickled = cursor.byte != UInt8(ascii: "f")
        try cursor.skipValue(scratch: &text)
      case "tensor_meta": try readMetadata(of: &tensor, &cursor, &text)
      default: try cursor.skipValue(scratch: &text)
      }
    }
    return tensor
  }

  /// Reads `tensor_meta`, which is null for a pickled entry.
  private static func readMetadata(
    of tensor: inout ExportedTensor, _ cursor: inout JSONCursor, _ text: inout [UInt8]
  ) throws(JSONError) {
    if try cursor.consumeNull() { return }
    try cursor.beginObject()
    while let key = try key(&cursor, &text) {
      switch key {
      case "dtype": tensor.type = try cursor.unsignedInteger()
      case "sizes": tensor.shape = try numbers(&cursor, &text)
      case "strides": tensor.strides = try numbers(&cursor, &text)
      case "storage_offset": tensor.offset = try number(&cursor, &text)
      default: try cursor.skipValue(scratch: &text)
      }
    }
  }

  private static func numbers(_ cursor: inout JSONCursor, _ text: inout [UInt8]) throws(JSONError) -> [UInt64]
  {
    var numbers: [UInt64] = []
    try cursor.beginArray()
    while try cursor.nextElement() { numbers.append(try number(&cursor, &text)) }
    return numbers
  }

  /// A number in the form `{"as_int": 2}`. A symbolic size in its place is an error.
  private static func number(_ cursor: inout JSONCursor, _ text: inout [UInt8]) throws(JSONError) -> UInt64 {
    try cursor.beginObject()
    guard try key(&cursor, &text) == "as_int" else { throw cursor.error("a size is not a number") }
    let number = try cursor.unsignedInteger()
    guard try key(&cursor, &text) == nil else { throw cursor.error("a size is not a number") }
    return number
  }
}
