internal import CLinux
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// A file on a slow store, read past the page cache by open file descriptions of its own.
///
/// The kernel cuts reads through the page cache into requests of the read-ahead, 128 KiB as a rule, and FUSE leaves out
/// what is read ahead where it has enough under way. A direct read is as few requests as the file system takes.
///
/// File systems such as Mountpoint for Amazon S3, gcsfuse and rclone take each open file description for a stream, so that there are
/// several, and each reads on where it has read last.
package final class RemoteFile: Sendable {
  private struct Handle {
    let file: OwnedFile
    /// How many threads read by it.
    var users = 0
    /// Where the last read ended, or will.
    var end: UInt64 = 0
  }
  private let handles: Mutex<[Handle]>
  /// In bytes.
  let size: UInt64

  /// A file of `size` bytes, by open file descriptions that nobody else reads by: at least one of them, or nil. Unless `isDirect`, reads
  /// go through the page cache nevertheless; and where the file system cannot do otherwise.
  package init?(_ descriptions: [OwnedFile], size: UInt64, isDirect: Bool = true) {
    if descriptions.isEmpty { return nil }
    for description in descriptions {
      RemoteFiles.stopReadAhead(of: description.descriptor)
      if isDirect { _ = stmount_set_direct(description.descriptor.rawValue, 1) }
    }
    handles = Mutex(descriptions.map { Handle(file: $0) })
    self.size = size
  }

  /// Reads all bytes of a piece, and waits for them. Throws ESTALE where the file ends before that.
  ///
  /// Then asks the file system below for the file's attributes and returns them, since the kernel may have kept older ones: whoever
  /// compares them sees every change from before the bytes were read.
  func read(_ piece: Piece) throws(Errno) -> Stat {
    let file = try readBytes(of: piece)
    return try RemoteFiles.status(of: file.descriptor, isFresh: true)
  }

  /// Returns the open file description that has read them.
  private func readBytes(of piece: Piece) throws(Errno) -> OwnedFile {
    let (index, file) = take(piece.range)
    defer { handles.withLock { $0[index].users -= 1 } }
    var filled = 0
    while filled < piece.range.count {
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: piece.memory[filled...])
      let offset = piece.range.lowerBound + UInt64(filled)
      let got: Int
      do throws(Errno) {
        got = try unsafe RemoteFiles.read(file.descriptor, from: offset, into: rest)
      } catch .invalidArgument {
        // The file system refuses this read, or all that are direct.
        _ = stmount_set_direct(file.descriptor.rawValue, 0)
        got = try unsafe RemoteFiles.read(file.descriptor, from: offset, into: rest)
      }
      guard got > 0 else { throw .staleNFSFileHandle }
      filled += got
    }
    return file
  }

  /// The descriptor that has read up to the beginning of a range, unless another one has less to do.
  private func take(_ range: Range<UInt64>) -> (index: Int, OwnedFile) {
    handles.withLock { handles in
      var best = 0
      for index in handles.indices {
        let (other, mine) = (handles[index], handles[best])
        if other.users < mine.users
          || other.users == mine.users && other.end == range.lowerBound && mine.end != range.lowerBound
        {
          best = index
        }
      }
      handles[best].users += 1
      handles[best].end = range.upperBound
      return (best, handles[best].file)
    }
  }
}
