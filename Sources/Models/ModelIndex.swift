internal import Safetensors
internal import SystemPackage

/// The index of a sharded set: the file of each tensor.
///
/// Read from `{"metadata": {…}, "weight_map": {"TENSOR": "FILE", …}}`. The metadata is advisory (some writers
/// put file sizes into `total_size`) and is ignored.
struct ModelIndex {
  /// The shards' paths below the index's directory, each once, in the order of their bytes; without `.` and `..`.
  private(set) var shards: [[UInt8]] = []
  /// Each tensor with the position of its shard in ``shards``, in the order of the tensors' names.
  private(set) var tensors: [(name: TensorName, shard: Int)] = []

  /// True if a file of this name is an index: `*.safetensors.index*.json`, and of PyTorch's files
  /// `*.bin.index*.json`.
  static func isIndex(_ fileName: some Collection<UInt8>) -> Bool {
    ModelFamily.all.contains { $0.isIndex(fileName) }
  }

  /// Opens and reads an index.
  init(opening path: FilePath) throws(ModelError) {
    let bytes = try SmallFile.bytes(of: path, what: "an index")
    if let offset = firstInvalidUTF8(bytes.span) {
      throw ModelError(.malformed, path, "invalid UTF-8 in the index at byte \(offset)")
    }
    do throws(JSONError) {
      try read(bytes.span)
    } catch {
      let start = Array(bytes.prefix(ForeignFormat.prefixSize))
      if let foreign = ForeignFormat(prefix: start), foreign != .json, foreign != .index {
        throw ModelError(.malformed, path, foreign.description(of: start))
      }
      throw ModelError(.malformed, path, "invalid index at byte \(error.offset): \(error.problem)")
    }
  }

  private init() {}

  /// Reads an index from memory; for tests and fuzzing.
  static func read(_ bytes: [UInt8]) throws(JSONError) -> ModelIndex {
    var index = ModelIndex()
    if let offset = firstInvalidUTF8(bytes.span) { throw JSONError(offset: offset, problem: "not UTF-8") }
    try index.read(bytes.span)
    return index
  }

  private mutating func read(_ json: Span<UInt8>) throws(JSONError) {
    var cursor = JSONCursor(json)
    var text: [UInt8] = []
    var entries: [Entry]?
    try cursor.beginObject("the index's '{'")
    while let key = try cursor.nextKey(into: &text) {
      let isWeightMap = text[key.range].elementsEqual("weight_map".utf8)
      text.removeSubrange(key.range)
      if isWeightMap {
        guard entries == nil else {
          throw JSONError(offset: key.offset, problem: "duplicate weight_map")
        }
        entries = try Self.readWeightMap(&cursor, into: &text)
      } else {
        try cursor.skipValue(scratch: &text)
      }
    }
    try cursor.expectEnd()
    guard var entries else { throw cursor.error("no weight_map in it") }
    guard !entries.isEmpty else { throw cursor.error("its weight_map names no tensor") }

    entries.sort { compareBytes(text[$0.name], text[$1.name]) < 0 }
    for (left, right) in zip(entries, entries.dropFirst())
    where compareBytes(text[left.name], text[right.name]) == 0 {
      let name = TensorName(utf8: text[left.name])
      throw JSONError(
        offset: max(left.offset, right.offset), problem: "duplicate tensor \(name) in weight_map")
    }
    let names = Set(entries.map { text[$0.file] })
    shards = names.sorted { compareBytes($0, $1) < 0 }.map { Array($0) }
    let positions = [[UInt8]: Int](uniqueKeysWithValues: zip(shards, shards.indices))
    tensors = entries.map {
      (TensorName(utf8: text[$0.name]), positions[Array(text[$0.file])] ?? 0)
    }
  }

  private struct Entry {
    var name: Range<Int>
    var file: Range<Int>
    var offset: Int
  }

  private static func readWeightMap(_ cursor: inout JSONCursor, into text: inout [UInt8])
    throws(JSONError) -> [Entry]
  {
    var entries: [Entry] = []
    try cursor.beginObject("an object of file names")
    while let name = try cursor.nextKey(into: &text) {
      var file = try cursor.string("a shard's file name", into: &text)
      guard let path = pathBelow(text[file]) else {
        let shown = PrintableText.quoted(text[file])
        throw JSONError(
          offset: name.offset, problem: "\(shown) is not the path of a file in the index's directory")
      }
      if path.count < file.count {
        text.replaceSubrange(file, with: path)
        file = file.lowerBound..<text.count
      }
      // Most neighbours share a shard: keep its name once.
      if let last = entries.last?.file, text[last] == text[file] {
        text.removeSubrange(file.lowerBound...)
        file = last
      }
      entries.append(Entry(name: name.range, file: file, offset: name.offset))
    }
    return entries
  }

  /// A path below the index's directory, without components `.`; nil if it could leave the directory, or is not
  /// a path.
  private static func pathBelow(_ path: ArraySlice<UInt8>) -> [UInt8]? {
    let components = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      .filter { !$0.elementsEqual(".".utf8) }
    let joined = Array(components.joined(separator: CollectionOfOne(UInt8(ascii: "/"))))
    return RootDirectory.contains(joined[...]) ? joined : nil
  }
}
