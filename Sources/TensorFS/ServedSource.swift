internal import FUSE
internal import Models
internal import Safetensors
internal import SystemPackage
internal import TensorFiles

/// A source's file as the session reads it, with what happens when it changes or fails.
struct ServedSource: ReplySource {
  let file: SourceFile
  let fileSystem: TensorFileSystem

  var descriptor: FileDescriptor { file.descriptor }

  @_lifetime(borrow self)
  func mappedBytes(_ range: Range<UInt64>) -> RawSpan? {
    let bytes = file.mappedBytes(range)
    return unsafe _overrideLifetime(bytes, borrowing: self)
  }

  func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) {
    try file.read(from: offset, into: &target)
  }

  func isUnchanged() -> Bool {
    switch file.verdict() {
    case .unchanged: return true
    case .changed(let change): fileSystem.notice(change, of: file)
    // It may be unchanged for all that, and is asked again by the next read.
    case .unknown(let error): fileSystem.noticeFailure(error, of: file)
    }
    return false
  }

  func failed(_ error: Errno) { fileSystem.noticeFailure(error, of: file) }
}

extension TensorFileSystem {
  /// A source is not what was mounted any more: what the kernel holds of it goes.
  fileprivate func notice(_ change: SourceFile.Change, of file: SourceFile) {
    forEachShard(of: file) { shard, place in
      faults.notice(change, of: shard, at: place) { [self] body in
        for index in tree.tree.nodes.indices {
          let node = tree.tree.nodes[index]
          guard node.kind == .tensor else { continue }
          let position = source(node).1
          guard position == (place.model, place.shard) else { continue }
          for place in tree.places(of: index) { body(InodeNumber(number: place.inode)) }
        }
        for index in tree.tree.nodes.indices where Int(tree.tree.nodes[index].model) == place.model {
          if let whole = tree.modelFile(above: index) { body(InodeNumber(number: whole.inode)) }
          break
        }
      }
    }
  }

  fileprivate func noticeFailure(_ error: Errno, of file: SourceFile) {
    forEachShard(of: file) { shard, place in faults.noticeFailure(error, of: shard, at: place) }
  }

  private func forEachShard(of file: SourceFile, _ body: (Shard, SourceFaults.Place) -> Void) {
    for (model, contents) in models.enumerated() {
      for (position, shard) in contents.shards.enumerated() where shard.file === file {
        body(shard, SourceFaults.Place(model: model, shard: position))
      }
    }
  }
}
