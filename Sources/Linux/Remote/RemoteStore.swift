internal import CLinux
internal import Glibc
internal import Synchronization
package import SystemPackage

/// A store of which every request takes long, such as a server. Files are read past the page cache, into pieces in memory of this
/// process, many at a time.
package final class RemoteStore: Sendable {
  private static let mostThreads = 32
  /// How many bytes one thread fetches at a time. FUSE makes requests of at most one MiB.
  private static let lengths: ClosedRange<UInt64> = 1 << 20...8 << 20
  /// For how long pieces stay that nobody uses, in seconds.
  private static let patience = 10.0

  /// By the descriptor that each is known by.
  private let files: [CInt: RemoteFile]
  private let pieces = Mutex(PieceTable(limit: Pace.most))
  private let pace = Mutex(Pace())
  private let threads = TransientThreads(most: mostThreads, mostWaiting: 1024)
  private let cleaner = TransientThreads(most: 1, mostWaiting: 1)
  private let memory = AvailableMemory()

  /// A store with some files, each by the descriptor that it is known by.
  package init(_ files: [CInt: RemoteFile]) { self.files = files }

  /// How many bytes should be on their way to all readers together.
  package var window: UInt64 { pace.withLock { $0.window } }

  /// Has bytes of a file fetched that will be read soon, unless they are in memory or on their way. Little memory lets nothing be
  /// fetched.
  package func fetch(_ range: Range<UInt64>, of file: FileDescriptor) {
    guard let remote = files[file.rawValue], UInt64(range.count) <= memory.bytes / 8 else { return }
    let length = min(max(window / 16, Self.lengths.lowerBound), Self.lengths.upperBound)
    let new = pieces.withLock {
      $0.add(range, of: file.rawValue, size: remote.size, length: length, at: Self.now) { part in
        CachedPages.hold(part, of: file) == true
      }
    }
    for piece in new {
      threads.run { [self] in
        if pieces.withLock({ $0.begin(piece) }) { fetch(piece, of: remote) }
      }
    }
    if !new.isEmpty { cleaner.run { [self] in removeUnused() } }
  }

  /// Fills `target` with bytes of a file: from pieces, for which it waits, and otherwise by one request for nothing but the pages
  /// that hold the bytes. Throws ESTALE where the file ends before that.
  ///
  /// Returns the file's attributes if they were asked for after the last of the bytes had come.
  package func read(
    from offset: UInt64, of file: FileDescriptor, into target: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Stat? {
    guard let remote = files[file.rawValue] else { throw .badFileDescriptor }
    var status: Stat?
    var position = offset
    let end = offset + UInt64(target.count)
    while position < end {
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[Int(position - offset)...])
      let first = pieces.withLock { $0.first(of: position..<end, in: file.rawValue, at: Self.now) }
      switch first {
      case .missing(let part):
        status = try unsafe readAlone(part, of: remote, into: rest)
        position = part.upperBound
      case .piece(let piece, let part, let isMine):
        status = isMine ? fetch(piece, of: remote) : nil
        if piece.arrival.wait() {
          unsafe piece.copy(part, to: rest)
          pieces.withLock { $0.use(part, of: piece) }
        } else {
          // What has failed may be other bytes of the piece. If not, this reader gets an error of its own.
          status = try unsafe readAlone(part, of: remote, into: rest)
        }
        position = part.upperBound
      }
    }
    return status
  }

  private func readAlone(
    _ part: Range<UInt64>, of file: RemoteFile, into target: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Stat {
    guard let piece = Piece(part, size: file.size) else { throw .noMemory }
    let status = try file.read(piece)
    unsafe piece.copy(part, to: target)
    return status
  }

  /// Fetches a piece, for which others may wait. Returns the attributes that the file had then, or nil if it has failed.
  @discardableResult
  private func fetch(_ piece: Piece, of file: RemoteFile) -> Stat? {
    pace.withLock { $0.begin(at: Self.now) }
    // A reader, if there will be one, gets an error of its own.
    let status = try? file.read(piece)
    let hasArrived = status != nil
    pace.withLock { $0.end(hasArrived ? UInt64(piece.range.count) : 0, at: Self.now) }
    pieces.withLock { $0.end(piece, hasArrived: hasArrived) }
    piece.arrival.happen(hasArrived)
    return status
  }

  /// On a thread of its own, which ends once there are no pieces. Whoever stops reading must not leave any behind.
  private func removeUnused() {
    while !pieces.withLock({ pieces in
      pieces.removeUnused(since: Self.now - Self.patience)
      return pieces.isEmpty
    }) { sleep(1) }
  }

  /// Seconds of a clock that does not jump.
  private static var now: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
