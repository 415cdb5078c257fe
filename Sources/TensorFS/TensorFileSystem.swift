public import FUSE
public import Logging
public import Safetensors
internal import Synchronization
public import SystemPackage

/// A collection of models as a file system: one file per tensor, and each model's metadata.json.
public final class TensorFileSystem: FileSystem {
  private let models: [Model]
  private let tree: Tree
  private let documents: [[UInt8]]
  private let totals: Statistics
  private let log: Logger

  /// Attributes by model and shard, with inode and size still to be set.
  private let fileAttributes: [[Attributes]]
  /// Attributes of each model's metadata.json.
  private let documentAttributes: [Attributes]
  /// Attributes of directories by model; those of a root above several models last.
  private let directoryAttributes: [Attributes]

  /// Where the bytes of replies come from.
  private let readSource: MountOptions.ReadSource
  private let isDirect: Bool
  private let readAhead = ReadAhead()

  /// Sources whose change has been reported: model and shard.
  private let reported = Mutex<Set<[Int]>>([])

  /// Lays out the tree and writes each metadata.json. Takes time linear in the headers, whatever the data's size.
  public init(_ collection: ModelCollection, options: MountOptions, log: Logger) throws(NameCollision) {
    models = collection.components.map(\.model)
    tree = try TreeBuilder.tree(of: collection)
    documents = models.map { MetadataDocument.bytes(of: $0) }
    totals = Statistics(
      size: models.reduce(0) { $0 + $1.totalSize } + documents.reduce(0) { $0 + UInt64($1.count) },
      inodes: UInt64(tree.nodes.count))
    let ownership = Ownership(owner: options.owner, group: options.group, umask: options.umask)
    fileAttributes = models.map { $0.shards.map { ownership.file($0) } }
    documentAttributes = models.map { ownership.shared(.file, $0.shards) }
    directoryAttributes =
      models.map { ownership.shared(.directory, $0.shards) }
      + [ownership.shared(.directory, models.flatMap(\.shards))]
    isDirect = options.isDirect
    readSource = options.readSource
    self.log = log
  }

  // MARK: - Names

  /// Finds a name by binary search.
  public func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes? {
    let parent = try node(directory)
    guard parent.kind == .directory else { throw .notDirectory }
    return tree.child(name, of: parent).map(attributes)
  }

  /// The source's attributes, with the tensor's size.
  public func attributes(of inode: InodeNumber) throws(Errno) -> Attributes {
    _ = try node(inode)
    return attributes(position(inode))
  }

  /// Lists a directory in the order of its names' bytes.
  public func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer)
    throws(Errno)
  {
    let node = try node(directory)
    guard node.kind == .directory else { throw .notDirectory }
    // "." and ".." at positions 0 and 1, then the children; what follows an entry is one further.
    let count = UInt64(node.count) + 2
    var position = position
    while position < count {
      let isAppended =
        switch position {
        case 0: buffer.append(Self.dot.span, attributes(self.position(directory)), next: 1)
        case 1: buffer.append(Self.dotDot.span, attributes(Int(node.parent)), next: 2)
        default: append(Int(node.first) + Int(position - 2), next: position + 1, to: &buffer)
        }
      guard isAppended else { return }
      position += 1
    }
  }

  private static let dot = Array(".".utf8)
  private static let dotDot = Array("..".utf8)

  private func append(_ child: Int, next: UInt64, to buffer: inout DirectoryBuffer) -> Bool {
    buffer.append(tree.name(of: tree.nodes[child]).span, attributes(child), next: next)
  }

  /// The sum of all files.
  public func statistics() -> Statistics { totals }

  private func position(_ inode: InodeNumber) -> Int { Int(clamping: inode.number &- 1) }

  private func node(_ inode: InodeNumber) throws(Errno) -> Tree.Node {
    let position = position(inode)
    guard tree.nodes.indices.contains(position) else { throw .staleNFSFileHandle }
    return tree.nodes[position]
  }

  private func attributes(_ position: Int) -> Attributes {
    let node = tree.nodes[position]
    var attributes: Attributes
    switch node.kind {
    case .directory:
      attributes = directoryAttributes[min(Int(node.model), models.count)]
      attributes.linkCount = UInt64(node.directories) + 2
    case .metadata:
      attributes = documentAttributes[Int(node.model)]
      attributes.size = UInt64(documents[Int(node.model)].count)
    case .tensor:
      let model = models[Int(node.model)]
      let place = model.places[Int(node.first)]
      attributes = fileAttributes[Int(node.model)][Int(place.shard)]
      attributes.size = model.tensor(at: place).byteCount
    }
    // Without the page cache every read is a request, and few large ones are best.
    if isDirect { attributes.ioSize = 1 << 20 }
    attributes.inode = InodeNumber(number: UInt64(position) + 1)
    return attributes
  }

  // MARK: - Contents

  /// Answers from the source, if it still is what was mounted, or from metadata.json's text.
  public func read(_ file: InodeNumber, at offset: UInt64, count: Int, reply: consuming ReadReply) {
    let node: Tree.Node
    do throws(Errno) {
      node = try self.node(file)
    } catch {
      reply.error(error)
      return
    }
    switch node.kind {
    case .directory:
      reply.error(.isDirectory)
    case .metadata:
      let document = documents[Int(node.model)]
      let range = Self.clamp(offset, count, to: UInt64(document.count))
      let part = document.span.extracting(Int(range.lowerBound)..<Int(range.upperBound))
      // Unsafe only of elements with padding, which a byte has not.
      unsafe reply.bytes(part.bytes)
    case .tensor:
      readTensor(node, at: offset, count: count, reply: reply)
    }
  }

  /// Answers from the shard. The check comes before every answer that needs the source, since a file
  /// that has changed would give its new bytes, or zeros, as the old tensor.
  private func readTensor(_ node: Tree.Node, at offset: UInt64, count: Int, reply: consuming ReadReply) {
    let model = models[Int(node.model)]
    let place = model.places[Int(node.first)]
    let shard = model.shard(at: place)
    guard shard.file.isUnchanged() else {
      report(shard, [Int(node.model), Int(place.shard)])
      reply.error(.ioError)
      return
    }
    let tensor = model.tensor(at: place)
    let whole = shard.fileRange(of: tensor)
    let part = Self.clamp(offset, count, to: tensor.byteCount)
    let range = whole.lowerBound + part.lowerBound..<whole.lowerBound + part.upperBound
    switch readSource {
    case .mapping:
      readAhead.willRead(range, of: whole, in: shard.file.descriptor)
      reply.bytes(shard.file.mappedBytes(range))
    case .descriptor:
      reply.splice(from: shard.file.descriptor, range)
    }
  }

  /// The part of `offset..<offset + count` that is inside a file of `size` bytes.
  private static func clamp(_ offset: UInt64, _ count: Int, to size: UInt64) -> Range<UInt64> {
    let start = min(offset, size)
    return start..<start + min(UInt64(max(0, count)), size - start)
  }

  private func report(_ shard: Shard, _ key: [Int]) {
    let isNew = reported.withLock { $0.insert(key).inserted }
    guard isNew else { return }
    log.error(
      """
      \(shard.file.path.printable) has changed since it was mounted; \
      reading its tensors fails until it is mounted anew
      """)
  }
}
