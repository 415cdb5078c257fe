internal import FUSE
internal import Linux
internal import Models
internal import Safetensors
internal import SystemPackage
internal import TensorFiles

/// A source file as the session sees it. Handles changes and failures.
struct ServedSource: ReplySource {
  let file: SourceFile
  let fileSystem: TensorFileSystem
  /// The tensor that is computed from the file, for messages; nil if none.
  var tensor: TensorName? = nil

  /// Shorter reads from a disk would make the kernel read ahead more than was asked for.
  private static let shortRead = 128 << 10

  var descriptor: FileDescriptor { file.descriptor }
  var isRemote: Bool { file.requestSize != nil }

  @_lifetime(borrow self)
  func mappedBytes(_ range: Range<UInt64>) -> RawSpan? {
    // A page fault on a remote file would fetch a single page.
    let bytes = file.isInMemory(range) ? file.mappedBytes(range) : nil
    return unsafe _overrideLifetime(bytes, borrowing: self)
  }

  func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) -> Bool {
    let range = offset..<offset + UInt64(target.byteCount)
    if !isRemote, range.count < Self.shortRead { CachedPages.announce(range, of: descriptor) }
    return try file.read(from: offset, into: &target)
  }

  func announce(_ range: Range<UInt64>) {
    if isRemote { file.announce([range]) } else { CachedPages.announce(range, of: descriptor) }
  }

  func isUnchanged() -> Bool {
    switch file.verdict() {
    case .unchanged: return true
    case .changed(let change): fileSystem.faults.notice(change, of: file)
    // The file may still be unchanged, so the next read asks again.
    case .unknown(let error): fileSystem.faults.noticeFailure(error, of: file)
    }
    return false
  }

  func failed(_ error: Errno) {
    if error == ScaleCheck.failure {
      fileSystem.faults.noticeScale(of: tensor, in: file)
    } else {
      fileSystem.faults.noticeFailure(error, of: file)
    }
  }
}

extension TensorFileSystem {
  /// Calls `body` with each inode whose contents come from a source file.
  func forEachInode(of file: SourceFile, _ body: (InodeNumber) -> Void) {
    for (model, contents) in models.enumerated() {
      let shards = contents.shards.map { shard in shard.files.contains { $0 === file } }
      guard shards.contains(true) else { continue }
      var root: Int?
      for (index, node) in tree.tree.nodes.enumerated() where Int(node.model) == model {
        if root == nil { root = index }
        guard node.kind == .tensor, shards[fileTree.place(of: node).shard] else { continue }
        for entry in tree.entries(of: index) { body(number(of: entry)) }
      }
      if let root, let whole = tree.modelFile(above: root) { body(number(of: whole)) }
    }
  }
}
