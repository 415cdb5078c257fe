package import FUSE
internal import Models
internal import Safetensors
package import SystemPackage
internal import TensorFiles

extension TensorFileSystem {
  /// Returns the answer to a read: a part of the file's layout.
  package func read(_ file: InodeNumber, at offset: UInt64, count: Int) throws(Errno) -> ReadAnswer {
    let entry = try entry(file)
    // Nearly all reads are of raw tensors, which need no layout.
    if let stored = fileTree.storedRange(of: entry) {
      let start = min(offset, stored.byteCount)
      let part = stored.part(start..<start + min(UInt64(max(0, count)), stored.byteCount - start))
      if part.range.isEmpty { return .bytes([]) }
      readAhead.noteRead(part)
      return .source(served(part.file), part.range)
    }
    guard let layout = layout(of: entry) else {
      throw tree.node(entry).kind == .directory ? .isDirectory : .noSuchFileOrDirectory
    }
    let range = layout.clamp(offset, count)
    let parts = layout.parts(of: range)
    let sources = layout.sources(of: range)
    // An empty range means that the bytes are scattered in the file.
    for source in sources where !source.range.isEmpty { readAhead.noteRead(source) }
    if parts.isEmpty { return .bytes([]) }
    if parts.count == 1 {
      switch parts[0].segment {
      case .memory(let bytes) where tree.node(entry).kind == .metadata:
        return .bytes(bytes.dropFirst(Int(range.lowerBound)).prefix(range.count))
      case .file(let source):
        return .source(served(source.file), source.part(parts[0].range).range)
      case .memory, .computed: break
      }
    }
    // A view's header comes from no source, but must become unreadable too when a source changes.
    let hasHeader = parts.contains { $0.segment.sources(of: $0.range).isEmpty }
    let files = hasHeader ? files(of: layout, at: entry) : sources.files
    let tensor = tree.node(entry).kind == .tensor ? source(tree.node(entry)).0.name : nil
    return .computed(
      count: range.count, from: files.map { ServedSource(file: $0, fileSystem: self, tensor: tensor) },
      reading: sources.map { (served($0.file), $0.range) }
    ) { target throws(Errno) in try layout.fill(&target, from: range.lowerBound) }
  }

  /// The files that a layout's bytes come from.
  private func files(of layout: FileLayout, at entry: ViewedTree.Entry) -> [SourceFile] {
    entry.isModelFile
      ? models[Int(tree.node(entry).model)].storedShards.map(\.file)
      : layout.sources(of: 0..<layout.byteCount).files
  }

  /// The contents of a file; nil for directories, and for files that the view does not have.
  func layout(of entry: ViewedTree.Entry) -> FileLayout? {
    if entry.isModelFile { return layouts.model(entry.inode) { fileTree.layout(of: entry) } }
    return layouts.layout(of: entry.inode) { fileTree.layout(of: entry) }
  }

  /// The size of a file; nil for directories, and for files that the view does not have.
  func size(of entry: ViewedTree.Entry) -> UInt64? {
    let node = tree.node(entry)
    guard node.kind == .tensor, entry.isRaw else {
      return layout(of: entry)?.byteCount
    }
    // Listings need the size of each file, so avoid making a layout.
    let size = source(node).0.byteCount
    return size <= UInt64(Int64.max) ? size : nil
  }

  private func served(_ file: SourceFile) -> any ReplySource { ServedSource(file: file, fileSystem: self) }
}

extension ReadAhead {
  /// Like ``noteRead(_:of:in:size:)``, for a source file.
  fileprivate func noteRead(_ source: FileRange) {
    noteRead(source.range, of: source.extent, in: source.file.descriptor, size: source.file.size)
  }
}
