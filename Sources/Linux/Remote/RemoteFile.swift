internal import CLinux
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// A file on a slow store. Reads bypass the page cache and use separate open file descriptions.
///
/// Through the page cache, the kernel limits requests to the read-ahead size, normally 128 KiB, and FUSE
/// skips read-ahead if enough requests are in flight. A direct read takes the fewest requests that the file
/// system allows.
///
/// File systems such as Mountpoint for Amazon S3, gcsfuse and rclone treat each open file description as a
/// stream. So there are several, and each continues where its last read ended.
package final class RemoteFile: Sendable {
  private struct Handle {
    let file: OwnedFile
    /// The number of threads that are reading with it.
    var users = 0
    /// The end of its latest read, finished or in progress.
    var end: UInt64 = 0
    /// 0 after a single read, and more while a stream is read. 1 before the first read, which costs rclone a
    /// request for the file's beginning.
    var streak = 1
  }
  private let handles: Mutex<[Handle]>
  /// In bytes.
  let size: UInt64

  /// Takes over open file descriptions that nobody else reads with. Nil if there are none. Reads go through
  /// the page cache if `isDirect` is false, or if the file system does not support direct reads. `size` is in
  /// bytes.
  package init?(_ descriptions: [OwnedFile], size: UInt64, isDirect: Bool = true) {
    if descriptions.isEmpty { return nil }
    for description in descriptions {
      RemoteFiles.stopReadAhead(of: description.descriptor)
      if isDirect { _ = stmount_set_direct(description.descriptor.rawValue, 1) }
    }
    handles = Mutex(descriptions.map { Handle(file: $0) })
    self.size = size
  }

  /// Reads all bytes of a piece, and waits for them. Throws ESTALE if the file ends before the piece does.
  ///
  /// Then asks the file system for the file's current attributes and returns them: the kernel may have cached
  /// older ones. A caller that compares them detects every change made before the read ended. Calls `whenRead`
  /// once reading has ended, with or without an error.
  ///
  /// A piece that `isAlone` is not expected to be followed by the next one.
  func read(_ piece: Piece, isAlone: Bool = false, whenRead: () -> Void = {}) throws(Errno) -> Stat {
    let file = try readBytes(of: piece, isAlone, whenRead)
    return try RemoteFiles.status(of: file.descriptor, isFresh: true)
  }

  /// Has the description whose last read ended at an offset read the file's last page. rclone then stops
  /// downloading what follows that offset, up to 16 MiB.
  func leave(_ end: UInt64) {
    guard end < size, let last = Piece(size - 1..<size, size: size) else { return }
    _ = try? readBytes(of: last, true, after: end) {}
  }

  /// Reads all bytes of a piece, and returns the open file description that was used.
  private func readBytes(
    of piece: Piece, _ isAlone: Bool, after end: UInt64? = nil, _ whenRead: () -> Void
  ) throws(Errno) -> OwnedFile {
    defer { whenRead() }
    let (index, file) = take(piece.range, isAlone, after: end ?? piece.range.lowerBound)
    defer { handles.withLock { $0[index].users -= 1 } }
    var filled = 0
    while filled < piece.range.count {
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: piece.memory[filled...])
      let offset = piece.range.lowerBound + UInt64(filled)
      let got: Int
      do throws(Errno) {
        got = try unsafe RemoteFiles.read(file.descriptor, from: offset, into: rest)
      } catch .invalidArgument {
        // The file system refuses this direct read, or all of them.
        _ = stmount_set_direct(file.descriptor.rawValue, 0)
        got = try unsafe RemoteFiles.read(file.descriptor, from: offset, into: rest)
      }
      guard got > 0 else { throw .staleNFSFileHandle }
      filled += got
    }
    return file
  }

  /// Picks the least busy description; among equals, the one whose last read ended at `end`, and
  /// then the one with the shortest stream. So single reads use the same one each time, and leave the others to streams.
  private func take(
    _ range: Range<UInt64>, _ isAlone: Bool, after end: UInt64
  ) -> (index: Int, OwnedFile) {
    handles.withLock { handles in
      func cost(_ handle: Handle) -> (Int, Int, Int) {
        (handle.users, handle.end == end ? 0 : 1, handle.streak)
      }
      var best = 0
      for index in handles.indices where cost(handles[index]) < cost(handles[best]) { best = index }
      handles[best].streak =
        isAlone ? 0 : handles[best].end == range.lowerBound ? handles[best].streak + 1 : 2
      handles[best].users += 1
      handles[best].end = range.upperBound
      return (best, handles[best].file)
    }
  }
}
