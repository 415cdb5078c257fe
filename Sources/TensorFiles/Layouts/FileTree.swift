package import Models
package import Safetensors

/// The files of a mount of some models, and their contents.
///
/// Both the mount and the commands without a mount use it.
package struct FileTree: Sendable {
  /// The models, in the order of their directories.
  package let models: [Model]
  /// The names of the files.
  package let tree: ViewedTree
  /// Each model's metadata.json.
  package let documents: [[UInt8]]
  /// The common part of the headers of a shard's single-tensor models.
  private let headers: [[HeaderWriter]]

  /// Lays out the tree and writes each metadata.json. Takes time linear in the headers, whatever the data's size.
  package init(_ collection: ModelCollection) throws(NamesError) {
    models = collection.components.map(\.model)
    tree = try ViewedTree(TreeBuilder.tree(of: collection), models: models)
    headers = models.map { $0.shards.map { HeaderWriter(metadata: $0.header.metadata) } }
    documents = models.map { MetadataDocument.bytes(of: $0) }
  }

  /// The tensor of a node's file, with its model and its shard.
  package func source(of node: Tree.Node) -> (tensor: Tensor, place: (model: Int, shard: Int)) {
    let model = models[Int(node.model)]
    return (model.tensor(at: model.places[Int(node.first)]), place(of: node))
  }

  /// The model and the shard of a node's file.
  package func place(of node: Tree.Node) -> (model: Int, shard: Int) {
    (Int(node.model), Int(models[Int(node.model)].places[Int(node.first)].shard))
  }

  /// The bytes of a tensor's file if they are one segment of a source, as in nearly all files. Otherwise nil: use ``layout(of:)``.
  package func storedRange(of entry: ViewedTree.Entry) -> FileRange? {
    let node = tree.node(entry)
    guard node.kind == .tensor, entry.isRaw, !entry.isModelFile else { return nil }
    let model = Int(node.model)
    return models[model].storedRange(at: models[model].places[Int(node.first)])
  }

  /// What a file holds; nil for directories, and where the view does not have the file. Made anew with each call.
  package func layout(of entry: ViewedTree.Entry) -> FileLayout? {
    let node = tree.node(entry)
    if entry.isModelFile { return FileLayout(wholeModel: models[Int(node.model)]) }
    switch node.kind {
    case .directory: return nil
    case .metadata: return entry.isRaw ? FileLayout(documents[Int(node.model)]) : nil
    case .tensor:
      let (tensor, position) = source(of: node)
      guard let raw = FileLayout(of: tensor, in: models[position.model].shards[position.shard]) else {
        return nil
      }
      return entry.view.layout(of: tensor, raw: raw, writer: headers[position.model][position.shard])
    }
  }

  /// The files of a view with their paths below its directory, in the order of a walk. Files that the view does not have are among
  /// them.
  package func files(in view: View) -> [(path: [UInt8], entry: ViewedTree.Entry)] {
    guard let root = tree.root(of: view) else { return [] }
    var files: [(path: [UInt8], entry: ViewedTree.Entry)] = []
    /// The entries to visit, the next one last, with the length of their directory's path. One stack and one path serve all depths: a
    /// name can have thousands of slashes.
    var open: [(directory: Int, entry: ViewedTree.Entry)] = [(0, root)]
    var path: [UInt8] = []
    while let (directory, entry) = open.popLast() {
      path.removeSubrange(directory...)
      if directory > 0 { path.append(UInt8(ascii: "/")) }
      path += tree.name(of: entry)
      let node = tree.node(entry)
      guard node.kind == .directory else {
        files.append((path, entry))
        continue
      }
      for position in (Int(node.first)..<Int(node.first) + Int(node.count)).reversed() {
        open.append((path.count, entry.at(position)))
      }
    }
    return files
  }
}
