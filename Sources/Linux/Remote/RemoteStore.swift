internal import CLinux
internal import Glibc
internal import Synchronization
package import SystemPackage

/// A store where every request is slow, such as a server. Reads files past the page cache into this process's
/// memory, with many requests in flight.
package final class RemoteStore: Sendable {
  private static let mostThreads = 32
  /// The number of bytes that one thread fetches at a time. FUSE sends requests of at most 1 MiB.
  private static let lengths: ClosedRange<UInt64> = 1 << 20...8 << 20
  /// How long unused pieces are kept, in seconds.
  private static let patience = 10.0

  /// By the descriptor that identifies each file.
  private let files: [CInt: RemoteFile]
  /// The file system below reads each open file in one sequence, and begins anew for a read elsewhere.
  private let inSequence: Bool
  private let pieces: Mutex<PieceTable>
  private let pace = Mutex(Pace())
  private let threads = TransientThreads(most: mostThreads, mostWaiting: 1024)
  private let cleaner = TransientThreads(most: 1, mostWaiting: 1)
  private let memory = AvailableMemory()

  /// A store with some files, keyed by the descriptors that identify them. If `inSequence`, pieces that follow
  /// each other are fetched one after the other, with the same open file description, in sections.
  package init(_ files: [CInt: RemoteFile], inSequence: Bool = false) {
    self.files = files
    self.inSequence = inSequence
    pieces = Mutex(PieceTable(limit: Pace.most, inSequence: inSequence))
  }

  /// The number of bytes that should be in flight or prefetched, for all readers together.
  package var window: UInt64 { inSequence ? 3 * PieceTable.section : pace.withLock { $0.window } }

  /// The window ahead of a reader is this many times what it has read. Larger in sequence, so that all sections
  /// begin early: rclone with a cache lets a download go on to what is up to 16 MiB ahead of it.
  package var growth: UInt64 { inSequence ? 16 : 4 }

  /// Fetches bytes of a file in the background, unless they are in memory or on their way. Does nothing if
  /// little memory is available. `origin` is where the stream of reads began; sections count from there.
  package func fetch(_ range: Range<UInt64>, of file: FileDescriptor, from origin: UInt64 = 0) {
    guard let remote = files[file.rawValue], UInt64(range.count) <= memory.bytes / 8 else { return }
    let length =
      inSequence
      ? Self.lengths.lowerBound : min(max(window / 16, Self.lengths.lowerBound), Self.lengths.upperBound)
    let new = pieces.withLock {
      $0.add(range, of: file.rawValue, size: remote.size, length: length, from: origin, at: Self.now) {
        part in
        CachedPages.hold(part, of: file) == true
      }
    }
    for piece in new { start(piece, of: remote) }
    if !new.isEmpty { cleaner.run { [self] in removeUnused() } }
  }

  /// Fills `target` with bytes of a file. Waits for pieces that have them, and reads the rest with a request
  /// for exactly the pages that are needed. Throws ESTALE if the file ends too early.
  ///
  /// Returns the file's attributes if they were read after the last byte arrived.
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
          // Perhaps other bytes of the piece failed. If not, this reader gets an error of its own.
          status = try unsafe readAlone(part, of: remote, into: rest)
        }
        position = part.upperBound
      case .after(let piece, let isMine):
        if isMine { fetch(piece, of: remote) }
        _ = piece.arrival.wait()
      }
    }
    return status
  }

  private func readAlone(
    _ part: Range<UInt64>, of file: RemoteFile, into target: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Stat {
    guard let piece = Piece(part, size: file.size) else { throw .noMemory }
    let status = try file.read(piece, isAlone: true)
    unsafe piece.copy(part, to: target)
    return status
  }

  /// Has a thread fetch a piece, unless somebody else has begun to.
  private func start(_ piece: Piece, of file: RemoteFile) {
    threads.run { [self] in
      if pieces.withLock({ $0.begin(piece) }) { fetch(piece, of: file) }
    }
  }

  /// Fetches a piece; others may be waiting for it. Returns the file's attributes afterwards, or nil on
  /// failure.
  @discardableResult
  private func fetch(_ piece: Piece, of file: RemoteFile) -> Stat? {
    pace.withLock { $0.begin(at: Self.now) }
    // A later reader of these bytes gets an error of its own.
    let status = try? file.read(piece) {
      switch pieces.withLock({ $0.endRead(piece) }) {
      case .piece(let next): start(next, of: file)
      case .nothing: threads.run { file.leave(piece.range.upperBound) }
      case .unknown: break
      }
    }
    let hasArrived = status != nil
    pace.withLock { $0.end(hasArrived ? UInt64(piece.range.count) : 0, at: Self.now) }
    pieces.withLock { $0.end(piece, hasArrived: hasArrived) }
    piece.arrival.happen(hasArrived)
    return status
  }

  /// Removes unused pieces, on a thread that ends when no pieces are left. Otherwise, pieces of readers that
  /// stopped would stay.
  private func removeUnused() {
    while !pieces.withLock({ pieces in
      pieces.removeUnused(since: Self.now - Self.patience)
      return pieces.isEmpty
    }) { sleep(1) }
  }

  /// The monotonic clock, in seconds.
  private static var now: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
