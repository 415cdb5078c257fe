package import FUSE
internal import Models
internal import Safetensors
package import SystemPackage
internal import TensorFiles

/// A collection of models as a file system: a file for each tensor and view, and a metadata.json for each
/// model.
package final class TensorFileSystem: FileSystem {
  let fileTree: FileTree
  // Copies of the tree's properties, for fast access.
  let models: [Model]
  let tree: ViewedTree
  private let totals: Statistics

  /// Attributes of tensors' files, by model and shard, without inode and size.
  private let fileAttributes: [[Attributes]]
  /// Attributes of metadata.json, by model.
  private let documentAttributes: [Attributes]
  /// Attributes of directories, by model. The last item is for a root above several models.
  private let directoryAttributes: [Attributes]

  private let isDirect: Bool
  let readAhead: ReadAhead
  let layouts = LayoutCache()
  let faults: SourceFaults
  /// Bits that are set in all inode numbers, so that one mount can have two file systems.
  private let tag: UInt64

  /// Makes the tree and each metadata.json. Takes time linear in the headers' size.
  ///
  /// File systems of one mount share `faults`, and `readAhead` if they have the same files. Their inode
  /// numbers differ in the bits of `tag`, all above bit 57.
  init(
    _ collection: ModelCollection, options: MountOptions, faults: SourceFaults, tag: UInt64,
    readAhead: ReadAhead? = nil
  ) throws(NamesError) {
    fileTree = try FileTree(collection)
    models = fileTree.models
    tree = fileTree.tree
    totals = Statistics(
      size: (models.map(\.totalSize) + fileTree.documents.map { UInt64($0.count) }).clampedSum,
      inodes: UInt64(tree.tree.nodes.count))
    let ownership = Ownership(owner: options.owner, group: options.group, umask: options.umask)
    fileAttributes = models.map { $0.shards.map { ownership.file($0) } }
    documentAttributes = models.map { ownership.shared(.file, $0.shards) }
    directoryAttributes =
      models.map { ownership.shared(.directory, $0.shards) }
      + [ownership.shared(.directory, models.flatMap(\.shards))]
    isDirect = options.isDirect
    self.readAhead =
      readAhead ?? ReadAhead(models.flatMap(\.shards).flatMap(\.files), isDirect: !options.isDirect)
    self.faults = faults
    self.tag = tag
    faults.add { [weak self] file, body in self?.forEachInode(of: file, body) }
  }

  // MARK: - Names

  /// Finds a name by binary search. "." means the inode itself, even for a file, and ".." its directory. The
  /// kernel looks these up for an NFS server that kept an inode number for longer than the kernel did; no
  /// file has such a name.
  package func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes? {
    if name.count <= 2, name.indices.allSatisfy({ name[$0] == UInt8(ascii: ".") }) {
      let entry = try entry(directory)
      return attributes(name.count == 1 ? entry : tree.parent(of: entry))
    }
    let parent = try directoryEntry(directory)
    return tree.child(name, of: parent).flatMap(attributes)
  }

  /// The source's attributes, with the file's own size.
  package func attributes(of inode: InodeNumber) throws(Errno) -> Attributes {
    guard let attributes = attributes(try entry(inode)) else { throw .staleNFSFileHandle }
    return attributes
  }

  /// Lists a directory, in byte order of the names. Directories of views are hidden.
  package func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer)
    throws(Errno)
  {
    let entry = try directoryEntry(directory)
    let node = tree.node(entry)
    // "." and ".." are at positions 0 and 1, children follow. An entry's `next` is its position plus one.
    for position in position..<max(position, UInt64(node.count) + 2) {
      let (entry, name) =
        switch position {
        case 0: (entry, Self.dot)
        case 1: (tree.parent(of: entry), Self.dotDot)
        default: child(entry.at(Int(node.first) + Int(position - 2)))
        }
      // Some views lack some files.
      guard let attributes = attributes(entry) else { continue }
      guard buffer.append(name.span, attributes, next: position + 1) else { return }
    }
  }

  private static let dot = Array(".".utf8)[...]
  private static let dotDot = Array("..".utf8)[...]

  private func child(_ entry: ViewedTree.Entry) -> (ViewedTree.Entry, ArraySlice<UInt8>) {
    (entry, tree.name(of: entry))
  }

  /// The size of all files without views, and the number of nodes.
  package func statistics() -> Statistics { totals }

  func entry(_ inode: InodeNumber) throws(Errno) -> ViewedTree.Entry {
    guard let entry = tree.entry(inode: inode.number ^ tag) else { throw .staleNFSFileHandle }
    return entry
  }

  func number(of entry: ViewedTree.Entry) -> InodeNumber { InodeNumber(number: entry.inode | tag) }

  var root: InodeNumber { InodeNumber(number: InodeNumber.root.number | tag) }

  /// The name of a model's root directory, empty if the mount has one model; nil for any other inode.
  func modelName(root inode: InodeNumber) -> ArraySlice<UInt8>? {
    guard let entry = tree.entry(inode: inode.number ^ tag), entry.isModelRoot, tree.isModel(entry.position)
    else { return nil }
    return tree.name(of: entry)
  }

  private func directoryEntry(_ inode: InodeNumber) throws(Errno) -> ViewedTree.Entry {
    let entry = try entry(inode)
    guard tree.node(entry).kind == .directory, !entry.isModelFile else { throw .notDirectory }
    return entry
  }

  /// The attributes of an entry; nil if the view does not have the file.
  private func attributes(_ entry: ViewedTree.Entry) -> Attributes? {
    let node = tree.node(entry)
    var attributes: Attributes
    if node.kind == .directory, !entry.isModelFile {
      attributes = directoryAttributes[min(Int(node.model), models.count)]
      attributes.linkCount = UInt64(node.directories) + 2
    } else {
      guard let size = size(of: entry) else { return nil }
      if node.kind == .tensor {
        let shard = fileTree.place(of: node)
        attributes = fileAttributes[shard.model][shard.shard]
      } else {
        attributes = documentAttributes[Int(node.model)]
      }
      attributes.size = size
    }
    // Without the page cache, each read is a request, and few large ones are fastest.
    if isDirect { attributes.ioSize = 1 << 20 }
    attributes.inode = number(of: entry)
    return attributes
  }

  /// A tensor's description, and the position of its shard.
  func source(_ node: Tree.Node) -> (Tensor, (model: Int, shard: Int)) { fileTree.source(of: node) }

  // MARK: - Extended attributes

  /// The value of a tensor's extended attribute, from the same data as metadata.json.
  package func extendedAttribute(_ name: [UInt8], of inode: InodeNumber) throws(Errno) -> [UInt8] {
    let node = tree.node(try entry(inode))
    guard node.kind == .tensor else { throw .noData }
    let (tensor, shard) = source(node)
    guard let value = ExtendedAttributes.value(of: name, tensor, models[shard.model].shards[shard.shard])
    else { throw .noData }
    return value
  }

  /// The names of a tensor's extended attributes; empty for directories and metadata.json.
  package func extendedAttributeNames(of inode: InodeNumber) throws(Errno) -> [[UInt8]] {
    let node = tree.node(try entry(inode))
    guard node.kind == .tensor else { return [] }
    let (tensor, shard) = source(node)
    return ExtendedAttributes.names(of: tensor, models[shard.model].shards[shard.shard])
  }
}
