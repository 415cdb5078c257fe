package import FUSE
internal import Linux
package import Logging
package import Models
internal import Safetensors
package import SystemPackage
package import TensorFiles

/// A collection of models as a file system: one file per tensor and view, and each model's metadata.json.
package final class TensorFileSystem: FileSystem {
  private let models: [Model]
  private let tree: ViewedTree
  private let documents: [[UInt8]]
  /// What the files of a shard's tensors have in common where they are models of their own.
  private let headers: [[HeaderWriter]]
  private let totals: Statistics

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

  private let faults: SourceFaults

  /// Lays out the tree and writes each metadata.json. Takes time linear in the headers, whatever the data's size.
  package init(_ collection: ModelCollection, options: MountOptions, log: Logger) throws(NamesError) {
    models = collection.components.map(\.model)
    tree = try ViewedTree(TreeBuilder.tree(of: collection), models: models)
    headers = models.map { $0.shards.map { HeaderWriter(metadata: $0.header.metadata) } }
    documents = models.map { MetadataDocument.bytes(of: $0) }
    totals = Statistics(
      size: (models.map(\.totalSize) + documents.map { UInt64($0.count) }).clampedSum,
      inodes: UInt64(tree.tree.nodes.count))
    let ownership = Ownership(owner: options.owner, group: options.group, umask: options.umask)
    fileAttributes = models.map { $0.shards.map { ownership.file($0) } }
    documentAttributes = models.map { ownership.shared(.file, $0.shards) }
    directoryAttributes =
      models.map { ownership.shared(.directory, $0.shards) }
      + [ownership.shared(.directory, models.flatMap(\.shards))]
    isDirect = options.isDirect
    readSource = options.readSource
    faults = SourceFaults(log: log)
  }

  /// Calls `drop`, once for each source that is found to have changed, with a function that names the inodes whose
  /// contents came from it: their pages in the kernel shall go.
  package func whenSourceChanges(
    _ drop: @escaping @Sendable (@escaping @Sendable ((InodeNumber) -> Void) -> Void) -> Void
  ) {
    faults.whenSourceChanges(drop)
  }

  // MARK: - Names

  /// Finds a name by binary search.
  package func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes? {
    let parent = try directoryPlace(directory)
    return tree.child(name, of: parent).flatMap(attributes)
  }

  /// The source's attributes, with the size of what is in the file.
  package func attributes(of inode: InodeNumber) throws(Errno) -> Attributes {
    guard let attributes = attributes(try place(inode)) else { throw .staleNFSFileHandle }
    return attributes
  }

  /// Lists a directory in the order of its names' bytes in the tree. The directories of views are not listed.
  package func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer)
    throws(Errno)
  {
    let place = try directoryPlace(directory)
    let node = tree.node(place)
    // "." and ".." at positions 0 and 1, then the children; what follows an entry is one further.
    for position in position..<max(position, UInt64(node.count) + 2) {
      let (entry, name) =
        switch position {
        case 0: (place, Self.dot)
        case 1: (tree.parent(of: place), Self.dotDot)
        default: child(place.at(Int(node.first) + Int(position - 2)))
        }
      // Not every file is in every view.
      guard let attributes = attributes(entry) else { continue }
      guard buffer.append(name.span, attributes, next: position + 1) else { return }
    }
  }

  private static let dot = Array(".".utf8)[...]
  private static let dotDot = Array("..".utf8)[...]

  private func child(_ place: ViewedTree.Place) -> (ViewedTree.Place, ArraySlice<UInt8>) {
    (place, tree.name(of: place))
  }

  /// The sum of all files, without views.
  package func statistics() -> Statistics { totals }

  private func place(_ inode: InodeNumber) throws(Errno) -> ViewedTree.Place {
    guard let place = tree.place(inode: inode.number) else { throw .staleNFSFileHandle }
    return place
  }

  private func directoryPlace(_ inode: InodeNumber) throws(Errno) -> ViewedTree.Place {
    let place = try place(inode)
    guard tree.node(place).kind == .directory else { throw .notDirectory }
    return place
  }

  /// The attributes of a place; nil where the view does not have the file.
  private func attributes(_ place: ViewedTree.Place) -> Attributes? {
    let node = tree.node(place)
    var attributes: Attributes
    switch node.kind {
    case .directory:
      attributes = directoryAttributes[min(Int(node.model), models.count)]
      attributes.linkCount = UInt64(node.directories) + 2
    case .metadata:
      guard place.view.number == View.raw.number else { return nil }
      attributes = documentAttributes[Int(node.model)]
      attributes.size = UInt64(documents[Int(node.model)].count)
    case .tensor:
      let (tensor, shard) = source(node)
      guard let encoding = place.view.encode(tensor, headers[shard.model][shard.shard]) else { return nil }
      attributes = fileAttributes[shard.model][shard.shard]
      attributes.size = encoding.byteCount
    }
    // Without the page cache every read is a request, and few large ones are best.
    if isDirect { attributes.ioSize = 1 << 20 }
    attributes.inode = InodeNumber(number: place.inode)
    return attributes
  }

  /// A tensor's description, and where its shard is.
  private func source(_ node: Tree.Node) -> (Tensor, (model: Int, shard: Int)) {
    let model = models[Int(node.model)]
    let place = model.places[Int(node.first)]
    return (model.tensor(at: place), (Int(node.model), Int(place.shard)))
  }

  // MARK: - Extended attributes

  /// What metadata.json says of a tensor.
  package func extendedAttribute(_ name: [UInt8], of inode: InodeNumber) throws(Errno) -> [UInt8] {
    let node = tree.node(try place(inode))
    guard node.kind == .tensor else { throw .noData }
    let (tensor, shard) = source(node)
    guard let value = ExtendedAttributes.value(of: name, tensor, models[shard.model].shards[shard.shard])
    else { throw .noData }
    return value
  }

  /// Those of a tensor; directories and metadata.json have none.
  package func extendedAttributeNames(of inode: InodeNumber) throws(Errno) -> [[UInt8]] {
    let node = tree.node(try place(inode))
    guard node.kind == .tensor else { return [] }
    let (tensor, shard) = source(node)
    return ExtendedAttributes.names(of: tensor, models[shard.model].shards[shard.shard])
  }

  // MARK: - Contents

  /// Answers from the source, if it still is what was mounted, or from metadata.json's text.
  package func read(_ file: InodeNumber, at offset: UInt64, count: Int, reply: consuming ReadReply) {
    let place: ViewedTree.Place
    do throws(Errno) {
      place = try self.place(file)
    } catch {
      reply.error(error)
      return
    }
    let node = tree.node(place)
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
      readTensor(node, place.view, at: offset, count: count, reply: reply)
    }
  }

  /// True if each source's file system tells what is in memory. One that cannot may have to wait even for fstat(2).
  package var saysWhenItWaits: Bool {
    models.allSatisfy { $0.shards.allSatisfy { CachedPages.canTell(of: $0.file.descriptor) } }
  }

  /// Answers from the shard. Whatever the bytes come from, it is checked between taking and sending them: a file that has
  /// changed would give its new bytes, or zeros, as the old tensor.
  private func readTensor(
    _ node: Tree.Node, _ view: View, at offset: UInt64, count: Int, reply: consuming ReadReply
  ) {
    let (tensor, position) = source(node)
    let shard = models[position.model].shards[position.shard]
    guard let encoding = view.encode(tensor, headers[position.model][position.shard]) else {
      reply.error(.noSuchFileOrDirectory)
      return
    }
    let part = Self.clamp(offset, count, to: encoding.byteCount)
    let header = encoding.headerBytes(in: part)
    let data = encoding.dataRange(in: part)
    let whole = shard.fileRange(of: tensor)
    if let widening = encoding.widening {
      reply.mayWait()
      let needed = widening.source(of: data).bytes
      if tensor.isContiguous {
        let range = whole.lowerBound + needed.lowerBound..<whole.lowerBound + needed.upperBound
        ReadAhead.announce(range, of: shard.file.descriptor)
        readAhead.follow(range, of: whole, in: shard.file)
      }
      do throws(Errno) {
        let (words, excess) = try widening.read(data, of: tensor, in: shard)
        guard isUnchanged(shard, position) else { throw .ioError }
        unsafe reply.bytes(
          header.span.bytes, words.span.bytes.extracting(excess..<excess + data.count))
      } catch {
        fail(reply, error, shard, position)
      }
    } else if tensor.isContiguous {
      let range = whole.lowerBound + data.lowerBound..<whole.lowerBound + data.upperBound
      readContiguous(range, of: whole, after: header, shard, position, reply: reply)
    } else {
      reply.mayWait()
      do throws(Errno) {
        let bytes = try shard.read(tensor, data)
        guard isUnchanged(shard, position) else { throw .ioError }
        unsafe reply.bytes(header.span.bytes, bytes.span.bytes)
      } catch {
        fail(reply, error, shard, position)
      }
    }
  }

  /// Answers with bytes `range` of a shard's file as they are, behind those of a view's `header`. `whole` is the part of the
  /// file that holds the tensor.
  private func readContiguous(
    _ range: Range<UInt64>, of whole: Range<UInt64>, after header: [UInt8], _ shard: Shard,
    _ position: (model: Int, shard: Int), reply: consuming ReadReply
  ) {
    let file = shard.file.descriptor
    readAhead.follow(range, of: whole, in: shard.file)
    if header.isEmpty, usesDescriptor(for: range.count) {
      reply.mayWait(unless: CachedPages.areResident(range, of: file))
      if let pages = reply.pages(range, of: file) {
        guard isUnchanged(shard, position) else { return reply.error(.ioError) }
        reply.pages(pages)
        // The kernel has copied from the file's own pages after they were checked. Should they have changed meanwhile, what
        // it got must not stay in its cache.
        _ = isUnchanged(shard, position)
        return
      }
    }
    if readSource == .mapping {
      reply.mayWait()
      ReadAhead.announce(range, of: file)
      guard isUnchanged(shard, position) else { return reply.error(.ioError) }
      unsafe reply.bytes(header.span.bytes, shard.file.mappedBytes(range))
      // As above.
      _ = isUnchanged(shard, position)
      return
    }
    let cached = CachedPages.read(range, of: file)
    if cached == nil {
      reply.mayWait()
      ReadAhead.announce(range, of: file)
    }
    do throws(Errno) {
      let bytes =
        if let cached { cached } else { try shard.file.read(from: range.lowerBound, count: range.count) }
      guard isUnchanged(shard, position) else { throw .ioError }
      unsafe reply.bytes(header.span.bytes, bytes.span.bytes)
    } catch {
      fail(reply, error, shard, position)
    }
  }

  /// Where the bytes of a reply of `count` bytes come from. A copy is checked after it was made, so that nothing can pass;
  /// for small requests it costs nothing that can be measured. A pipe costs more at first and less for each page.
  /// docs/PERFORMANCE.md has the measurements.
  private func usesDescriptor(for count: Int) -> Bool {
    switch readSource {
    case .automatic: count >= 128 << 10
    case .mapping, .copy: false
    case .descriptor: true
    }
  }

  /// The part of `offset..<offset + count` that is inside a file of `size` bytes.
  private static func clamp(_ offset: UInt64, _ count: Int, to size: UInt64) -> Range<UInt64> {
    let start = min(offset, size)
    return start..<start + min(UInt64(max(0, count)), size - start)
  }

  /// False where the source is no longer what was mounted.
  private func isUnchanged(_ shard: Shard, _ position: (model: Int, shard: Int)) -> Bool {
    if shard.file.isUnchanged() { return true }
    faults.noticeChange(of: shard, at: SourceFaults.Place(position)) { [self] body in
      for index in tree.tree.nodes.indices {
        let node = tree.tree.nodes[index]
        guard node.kind == .tensor, source(node).1 == position else { continue }
        for place in tree.places(of: index) { body(InodeNumber(number: place.inode)) }
      }
    }
    return false
  }

  /// Answers a read for which the source could not be read.
  private func fail(
    _ reply: consuming ReadReply, _ error: Errno, _ shard: Shard, _ position: (model: Int, shard: Int)
  ) {
    reply.mayWait()
    if isUnchanged(shard, position) {
      faults.noticeFailure(error, of: shard, at: SourceFaults.Place(position))
    }
    reply.error(.ioError)
  }
}

extension SourceFaults.Place {
  fileprivate init(_ position: (model: Int, shard: Int)) {
    self.init(model: position.model, shard: position.shard)
  }
}

extension ReadAhead {
  /// As ``follow(_:of:in:size:)`` in a shard's file.
  fileprivate func follow(_ range: Range<UInt64>, of tensor: Range<UInt64>, in file: SourceFile) {
    follow(range, of: tensor, in: file.descriptor, size: file.size)
  }
}
