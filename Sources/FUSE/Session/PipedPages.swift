internal import CFuse
internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// Bytes of a file on their way to a reader: the file's own pages, held by a pipe.
///
/// They are counted before they are sent. libfuse would send what there is, and the kernel takes an answer that is too short
/// for the file's new end.
package struct PipedPages: ~Copyable {
  fileprivate let pipe: Pipe
  private let pool: PipePool
  /// How many bytes there are.
  let count: Int

  /// Where they are to be read from, in order.
  var descriptor: FileDescriptor { pipe.reader }

  private init(_ pipe: Pipe, from pool: PipePool, count: Int) {
    self.pipe = pipe
    self.pool = pool
    self.count = count
  }

  /// Takes bytes `range` of a file: splice(2). Nil where there is no pipe that is large enough, and where the file ends
  /// too early or cannot be read.
  static func take(_ range: Range<UInt64>, of file: FileDescriptor, from pool: PipePool) -> PipedPages? {
    guard let pipe = pool.take() else { return nil }
    // Dropped below, it sees to what the pipe holds by then.
    let pages = PipedPages(pipe, from: pool, count: range.count)
    var start = range.lowerBound
    while start < range.upperBound {
      let moved = stmount_splice(
        file.rawValue, off_t(clamping: start), pipe.writer.rawValue, Int(range.upperBound - start))
      if moved < 0, errno == EINTR { continue }
      guard moved > 0 else { return nil }
      start += UInt64(moved)
    }
    return pages
  }

  deinit { pool.giveBack(pipe) }
}

/// The two ends of a pipe.
private struct Pipe {
  let reader: FileDescriptor
  let writer: FileDescriptor

  func close() {
    try? reader.close()
    try? writer.close()
  }
}

/// Pipes that are free: as many as there were requests at one time.
final class PipePool: Sendable {
  /// What the longest request needs in bytes: as many pages as it touches.
  private static let capacity: Int32 = (512 << 10) + 4096

  private let free = Mutex<[Pipe]>([])

  deinit {
    free.withLock { for pipe in $0 { pipe.close() } }
  }

  fileprivate func take() -> Pipe? {
    if let pipe = free.withLock({ $0.popLast() }) { return pipe }
    guard let (reader, writer) = try? makePipe() else { return nil }
    let pipe = Pipe(reader: reader, writer: writer)
    // Ordinary users have so many pages in pipes: pipe(7). A pipe that is too small is no use.
    guard stmount_set_pipe_size(writer.rawValue, Self.capacity) >= Self.capacity else {
      pipe.close()
      return nil
    }
    return pipe
  }

  /// A pipe that still holds something would give it to the next reader.
  fileprivate func giveBack(_ pipe: Pipe) {
    guard stmount_pipe_is_empty(pipe.reader.rawValue) != 0 else { return pipe.close() }
    free.withLock { $0.append(pipe) }
  }
}
