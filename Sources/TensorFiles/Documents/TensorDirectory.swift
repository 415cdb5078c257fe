package import Models
package import Safetensors
package import SystemPackage

/// A mount, or a copy of one: a file for each tensor, and metadata.json, which lists them.
///
/// The document is read as strictly as a header. A tensor's path must stay in the directory, and its file must have
/// the size of its dtype and shape.
package struct TensorDirectory: Sendable {
  /// The file that identifies such a directory.
  package static let documentName = "metadata.json"
  /// The maximum size of the document, in bytes: a mount's document has each name of a header twice.
  package static let maximumSize = 4 * HeaderPrefix.maximumLength

  /// A tensor and its file.
  package struct Entry: Sendable {
    /// The tensor, whose bytes are the whole file.
    package let tensor: Tensor
    /// The file, relative to the directory.
    package let path: [UInt8]
  }

  /// The tensors in the order of their names; names are unique.
  package let entries: [Entry]
  /// The `__metadata__` of each of the model's files.
  package let metadata: [[(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)]]

  /// The document, as it was read.
  private let documentFile: SourceFile
  private let root: RootDirectory

  /// Reads the directory's document, but none of the tensors' files. A metadata.json of another program is a failure of the kind
  /// `noSource`.
  package init(opening path: FilePath) throws(ModelError) {
    root = try RootDirectory(opening: path)
    let (bytes, file) = try Self.document(in: root)
    documentFile = file
    do throws(JSONError) {
      let document = try TensorDocument(reading: bytes.span)
      entries = document.entries
      metadata = document.metadata
    } catch {
      if TensorDocument.isForeign(bytes.span) {
        throw ModelError(.noSource, file.path, "it is not the metadata.json of a mount: it lists no tensors")
      }
      throw ModelError(
        .malformed, file.path, "invalid metadata.json at byte \(error.offset): \(error.problem)")
    }
  }

  /// The document's text.
  package func document() throws(ModelError) -> [UInt8] { try Self.document(in: root).bytes }

  private static func document(in root: RootDirectory) throws(ModelError) -> (bytes: [UInt8], SourceFile) {
    let file = try root.open(Array(documentName.utf8))
    guard file.size <= maximumSize else {
      throw ModelError(
        .malformed, file.path, "a document of \(file.size) bytes is over the limit of \(maximumSize)")
    }
    let bytes = try ModelError.translating("read", file.path) {
      try file.read(from: 0, count: Int(file.size))
    }
    return (bytes, file)
  }

  /// Opens a tensor's file, and checks its size. A symbolic link is refused.
  package func open(_ entry: Entry) throws(ModelError) -> SourceFile {
    let file = try root.open(entry.path)
    guard file.size == entry.tensor.byteCount else {
      throw ModelError(
        .malformed, file.path,
        "it has \(PrintableText.counted(file.size, "byte")), and metadata.json gives tensor "
          + "\(entry.tensor.name) \(entry.tensor.byteCount)")
    }
    return file
  }

  /// The tensors that are chosen, each with its file, which exists and has its size. Entries of `__metadata__` that contradict each
  /// other are left out.
  package func tensors(choosing isChosen: (TensorName) -> Bool) throws(ModelError) -> SeparateTensors {
    let chosen = entries.filter { isChosen($0.tensor.name) }
    let merged = MergedMetadata(agreeing: metadata.map { (documentFile.path, $0) })
    return try SeparateTensors(
      opening: chosen.map(\.tensor), metadata: merged.entries.map { (Array($0.key), Array($0.value)) },
      describedBy: documentFile
    ) { number throws(ModelError) in try open(chosen[number]) }
  }
}

/// A metadata.json while it is read.
package struct TensorDocument {
  private(set) var entries: [TensorDirectory.Entry] = []
  private(set) var metadata: [[(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)]] = []

  /// A buffer for strings; strings that are kept are copied.
  private var text: [UInt8] = []

  package init(reading json: Span<UInt8>) throws(JSONError) {
    var cursor = try JSONCursor(checking: json)
    var seen: Set<[UInt8]> = []
    try cursor.beginObject("the document's '{'")
    while let (key, offset) = try nextKey(&cursor) {
      guard seen.insert(key).inserted else {
        throw JSONError(offset: offset, problem: "duplicate key \(PrintableText.quoted(key))")
      }
      switch String(decoding: key, as: UTF8.self) {
      case "metadata": try readMetadata(&cursor)
      case "tensors": try readTensors(&cursor)
      default: try cursor.skipValue(scratch: &text)
      }
    }
    try cursor.expectEnd()
    guard seen.contains(Array("tensors".utf8)) else { throw cursor.error("no tensors in it") }
  }

  /// True of well-formed JSON without an object of tensors: another program's document.
  static func isForeign(_ json: Span<UInt8>) -> Bool {
    do throws(JSONError) {
      var cursor = try JSONCursor(checking: json)
      var text: [UInt8] = []
      cursor.skipWhitespace()
      if cursor.byte == UInt8(ascii: "{") {
        try cursor.beginObject()
        while let key = try cursor.nextKey(into: &text) {
          let isTensors = text[key.range].elementsEqual("tensors".utf8)
          text.removeAll(keepingCapacity: true)
          cursor.skipWhitespace()
          if isTensors, cursor.byte == UInt8(ascii: "{") { return false }
          try cursor.skipValue(scratch: &text)
        }
      } else {
        try cursor.skipValue(scratch: &text)
      }
      try cursor.expectEnd()
      return true
    } catch {
      return false
    }
  }

  private mutating func nextKey(_ cursor: inout JSONCursor) throws(JSONError) -> ([UInt8], offset: Int)? {
    guard let key = try cursor.nextKey(into: &text) else { return nil }
    return (take(key.range), key.offset)
  }

  private mutating func string(_ what: String, _ cursor: inout JSONCursor) throws(JSONError) -> [UInt8] {
    take(try cursor.string(what, into: &text))
  }

  private mutating func take(_ range: Range<Int>) -> [UInt8] {
    defer { text.removeSubrange(range) }
    return Array(text[range])
  }

  /// An object of strings; or, of several sources, an object of these by the source's name.
  private mutating func readMetadata(_ cursor: inout JSONCursor) throws(JSONError) {
    var own: [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] = []
    try cursor.beginObject("an object of strings")
    while let (key, _) = try nextKey(&cursor) {
      cursor.skipWhitespace()
      if cursor.byte == UInt8(ascii: "{") {
        metadata.append(try readStrings(&cursor))
      } else {
        own.append((key[...], try string("a string or an object of strings", &cursor)[...]))
      }
    }
    if !own.isEmpty { metadata.append(own) }
  }

  private mutating func readStrings(_ cursor: inout JSONCursor) throws(JSONError)
    -> [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)]
  {
    var entries: [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] = []
    try cursor.beginObject()
    while let (key, _) = try nextKey(&cursor) {
      entries.append((key[...], try string("a string", &cursor)[...]))
    }
    return entries
  }

  private mutating func readTensors(_ cursor: inout JSONCursor) throws(JSONError) {
    try cursor.beginObject("an object of tensors")
    while let (name, _) = try nextKey(&cursor) {
      do throws(JSONError) {
        entries.append(try readTensor(TensorName(utf8: name[...]), &cursor))
      } catch {
        throw JSONError(
          offset: error.offset, problem: "tensor \(PrintableText.quoted(name)): \(error.problem)")
      }
    }
    entries.sort { $0.tensor.name < $1.tensor.name }
    for (left, right) in zip(entries, entries.dropFirst()) where left.tensor.name == right.tensor.name {
      throw cursor.error("duplicate tensor \(left.tensor.name)")
    }
  }

  private mutating func readTensor(_ name: TensorName, _ cursor: inout JSONCursor) throws(JSONError)
    -> TensorDirectory.Entry
  {
    var dtype: DType?
    var shape: [UInt64]?
    var byteCount: UInt64?
    var path: [UInt8]?
    cursor.skipWhitespace()
    let start = cursor.offset
    try cursor.beginObject("an object with path, dtype, shape and nbytes")
    while let (key, offset) = try nextKey(&cursor) {
      switch String(decoding: key, as: UTF8.self) {
      case "dtype" where dtype == nil: dtype = try readDType(&cursor)
      case "shape" where shape == nil: shape = try readShape(&cursor)
      case "nbytes" where byteCount == nil: byteCount = try cursor.unsignedInteger()
      case "path" where path == nil: path = try readPath(&cursor)
      case "dtype", "shape", "nbytes", "path":
        throw JSONError(offset: offset, problem: "duplicate field")
      default: try cursor.skipValue(scratch: &text)
      }
    }
    guard let dtype, let shape, let byteCount, let path else {
      throw JSONError(offset: start, problem: "it lacks one of path, dtype, shape and nbytes")
    }
    guard dtype.byteCount(of: shape[...]) == byteCount else {
      throw JSONError(offset: start, problem: "its nbytes is not what dtype and shape ask for")
    }
    let tensor = Tensor(name: name, dtype: dtype, shape: shape[...], writtenTo: 0..<byteCount)
    return TensorDirectory.Entry(tensor: tensor, path: path)
  }

  private mutating func readDType(_ cursor: inout JSONCursor) throws(JSONError) -> DType {
    cursor.skipWhitespace()
    let offset = cursor.offset
    let name = try string("a dtype's name", &cursor)
    guard let dtype = DType(utf8: name) else {
      throw JSONError(
        offset: offset, problem: "\(PrintableText.quoted(name)) is not a safetensors dtype")
    }
    return dtype
  }

  private func readShape(_ cursor: inout JSONCursor) throws(JSONError) -> [UInt64] {
    var shape: [UInt64] = []
    try cursor.beginArray("an array of dimensions")
    while try cursor.nextElement() { shape.append(try cursor.unsignedInteger()) }
    return shape
  }

  private mutating func readPath(_ cursor: inout JSONCursor) throws(JSONError) -> [UInt8] {
    cursor.skipWhitespace()
    let offset = cursor.offset
    let path = try string("a file's path", &cursor)
    guard RootDirectory.contains(path[...]) else {
      throw JSONError(
        offset: offset,
        problem: "\(PrintableText.quoted(path)) is not the path of a file below the directory")
    }
    return path
  }
}
