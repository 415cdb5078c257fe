package import FUSE
package import Logging
package import Models
internal import Safetensors
package import SystemPackage
package import TensorFiles

/// Shows models as they are stored. Each quantised model has a hidden directory with the dequantised model.
///
/// Stored and dequantised models are separate file systems; a bit of the inode number tells them apart.
package final class DequantizingFileSystem: FileSystem {
  private let stored: TensorFileSystem
  /// The dequantised models; nil if no model is quantised.
  private let dequantized: TensorFileSystem?
  private let faults: SourceFaults

  private static let tag: UInt64 = 1 << 58

  /// `dequantized` has the quantised models of `collection`, under the same names.
  package init(
    _ collection: ModelCollection, dequantized: ModelCollection?, options: MountOptions, log: Logger
  ) throws(NamesError) {
    let faults = SourceFaults(log: log)
    self.faults = faults
    let stored = try TensorFileSystem(collection, options: options, faults: faults, tag: 0)
    self.stored = stored
    SourceWatch.begin(stored.models.flatMap(\.shards), log: log)
    for model in stored.models { Self.noteMetadata(of: model, log) }
    var other: TensorFileSystem?
    do throws(NamesError) {
      other = try dequantized.map { models throws(NamesError) in
        try TensorFileSystem(
          models, options: options, faults: faults, tag: Self.tag, readAhead: stored.readAhead)
      }
    } catch {
      log.warning("cannot make .dequant/: \(error)")
    }
    self.dequantized = other
  }

  /// Logs which entries of `__metadata__` are missing from the whole model as one file.
  private static func noteMetadata(of model: Model, _ log: Logger) {
    guard model.storedShards.count > 1, let source = model.shards.first?.file.path.printable else { return }
    let keys = model.mergedMetadata.leftOut
    if keys.isEmpty { return }
    let names = keys.prefix(10).map { PrintableText.quoted($0) }.joined(separator: ", ")
    log.info(
      "\(source) and others: __metadata__ has different values for \(names); .model.safetensors omits them")
  }

  /// Sets the function that drops cached pages of changed sources. `drop` gets a function that lists the
  /// inodes with contents of the changed source. If it returns false, it is called again at the next read of
  /// that source.
  package func whenSourceChanges(
    _ drop: @escaping @Sendable (@escaping @Sendable ((InodeNumber) -> Void) -> Void) -> Bool
  ) {
    faults.whenSourceChanges(drop)
  }

  /// The file system that an inode belongs to.
  private func owner(of inode: InodeNumber) throws(Errno) -> TensorFileSystem {
    guard inode.number & Self.tag != 0 else { return stored }
    guard let dequantized else { throw .staleNFSFileHandle }
    return dequantized
  }

  package func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes? {
    let hidden = ViewedTree.dequantizedDirectory
    if let dequantized, name.count == hidden.count, name.indices.allSatisfy({ name[$0] == hidden[$0] }),
      let model = stored.modelName(root: directory)
    {
      return model.isEmpty
        ? try dequantized.attributes(of: dequantized.root)
        : try dequantized.lookup(model.span, in: dequantized.root)
    }
    return try owner(of: directory).lookup(name, in: directory)
  }

  package func attributes(of inode: InodeNumber) throws(Errno) -> Attributes {
    try owner(of: inode).attributes(of: inode)
  }

  package func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer)
    throws(Errno)
  {
    try owner(of: directory).list(directory, from: position, into: &buffer)
  }

  package func read(_ file: InodeNumber, at offset: UInt64, count: Int) throws(Errno) -> ReadAnswer {
    try owner(of: file).read(file, at: offset, count: count)
  }

  package func extendedAttribute(_ name: [UInt8], of inode: InodeNumber) throws(Errno) -> [UInt8] {
    try owner(of: inode).extendedAttribute(name, of: inode)
  }

  package func extendedAttributeNames(of inode: InodeNumber) throws(Errno) -> [[UInt8]] {
    try owner(of: inode).extendedAttributeNames(of: inode)
  }

  /// The totals of the stored models.
  package func statistics() -> Statistics { stored.statistics() }
}
