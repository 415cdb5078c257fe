/// Writes the index of a sharded set as huggingface_hub does: `model.safetensors.index.json`.
package enum IndexWriter {
  /// The index's text: json.dump(…, indent=2) of Python, which escapes everything but printable ASCII and ends
  /// without a newline. `metadata` follows `total_size`, without the entry `format`, which belongs to a file, and without
  /// its own entry `total_size`.
  package static func bytes(
    totalSize: UInt64, metadata: [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)],
    weightMap: [(tensor: TensorName, file: [UInt8])]
  ) -> [UInt8] {
    var json = Array("{\n  \"metadata\": {\n    \"total_size\": \(totalSize)".utf8)
    func append(_ key: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>, isFirst: Bool = false) {
      json += (isFirst ? "\n    " : ",\n    ").utf8
      JSONString.append(key, .nonASCII, to: &json)
      json += ": ".utf8
      JSONString.append(value, .nonASCII, to: &json)
    }
    let own = ["format", "total_size"]
    for entry in metadata where !own.contains(where: { entry.key.elementsEqual($0.utf8) }) {
      append(entry.key, entry.value)
    }
    json += "\n  },\n  \"weight_map\": {".utf8
    for (position, entry) in weightMap.enumerated() {
      append(entry.tensor.utf8, entry.file[...], isFirst: position == 0)
    }
    json += "\n  }\n}".utf8
    return json
  }
}
