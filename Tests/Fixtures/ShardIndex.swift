/// The index of a sharded set in memory, `model.safetensors.index.json`.
public struct ShardIndex: Sendable {
  /// Each tensor with its file, in the order of the index.
  public var weightMap: [(tensor: String, file: String)]
  /// `total_size` in the index's metadata; nil for an index without metadata.
  public var totalSize: Int?

  /// An index of these tensors.
  public init(_ weightMap: KeyValuePairs<String, String>, totalSize: Int? = nil) {
    self.init(weightMap.map { ($0.key, $0.value) }, totalSize: totalSize)
  }

  /// An index of these tensors.
  public init(_ weightMap: [(tensor: String, file: String)], totalSize: Int? = nil) {
    self.weightMap = weightMap
    self.totalSize = totalSize
  }

  /// The index's JSON.
  public var bytes: [UInt8] {
    var entries: [(key: [UInt8], value: [UInt8])] = []
    if let totalSize {
      entries.append((Array("\"metadata\"".utf8), Array("{\"total_size\":\(totalSize)}".utf8)))
    }
    let pairs = weightMap.map { (JSONText.string($0.tensor.utf8), JSONText.string($0.file.utf8)) }
    entries.append((Array("\"weight_map\"".utf8), JSONText.object(pairs)))
    return JSONText.object(entries)
  }
}
