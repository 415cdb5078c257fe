internal import Safetensors
internal import SystemPackage

/// Where the slices of a file lie in their whole tensors: the entry `DCP_SHARDING_INFO` of `__metadata__`, which a distributed
/// checkpoint in the Hugging Face layout has. It is JSON such as `{"weight": {"saved_offsets": [4, 0]}}`, an index in elements.
struct ShardingInfo {
  /// The keys of `__metadata__` about slices.
  static let keys = ["DCP_SHARDING_INFO", "DCP_VERSION"]

  /// The start of each of the file's tensors in the whole tensor, by name.
  private(set) var starts: [TensorName: [UInt64]] = [:]

  /// Nil if the file has no such key.
  init?(of shard: Shard) throws(ModelError) {
    guard let entry = shard.header.metadata.first(where: { $0.key.elementsEqual(Self.keys[0].utf8) }) else {
      return nil
    }
    do throws(JSONError) {
      try read(Array(entry.value).span)
    } catch {
      throw ModelError(
        .malformed, shard.file.path,
        "invalid DCP_SHARDING_INFO at byte \(error.offset): \(error.problem)")
    }
  }

  /// Reads the JSON. Separate from the file for fuzzing.
  init(json: [UInt8]) throws(JSONError) { try read(json.span) }

  private mutating func read(_ json: Span<UInt8>) throws(JSONError) {
    var cursor = try JSONCursor(checking: json)
    var text: [UInt8] = []
    try cursor.beginObject()
    while let key = try cursor.nextKey(into: &text) {
      let name = TensorName(utf8: Array(text[key.range])[...])
      text.removeAll(keepingCapacity: true)
      var start: [UInt64]?
      try cursor.beginObject()
      while let field = try cursor.nextKey(into: &text) {
        let isStart = text[field.range].elementsEqual("saved_offsets".utf8)
        text.removeAll(keepingCapacity: true)
        if isStart, start == nil {
          var numbers: [UInt64] = []
          try cursor.beginArray()
          while try cursor.nextElement() { numbers.append(try cursor.unsignedInteger()) }
          start = numbers
        } else {
          try cursor.skipValue(scratch: &text)
        }
      }
      guard let start else { throw JSONError(offset: key.offset, problem: "\(name) has no saved_offsets") }
      guard starts.updateValue(start, forKey: name) == nil else {
        throw JSONError(offset: key.offset, problem: "duplicate tensor \(name)")
      }
    }
    try cursor.expectEnd()
  }
}
