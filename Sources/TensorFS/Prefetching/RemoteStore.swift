internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// Prefetches from a store of which every request takes long, such as a server: in pieces, several at a time.
///
/// Each piece is read by an open file description of its own: file systems such as Mountpoint for Amazon S3, gcsfuse and rclone take
/// each for a stream.
final class RemoteStore: Sendable {
  private static let mostThreads = 32
  /// How many bytes one thread fetches at a time.
  private static let pieces: ClosedRange<UInt64> = RemoteFiles.blockSize...8 << 20

  private let streams = Mutex(Streams())
  private let pace = Mutex(Pace())
  private let threads = TransientThreads(most: mostThreads, mostWaiting: mostThreads)
  /// Descriptors that nobody uses at the moment, each with its file's known one and where it has read up to.
  private let handles = Mutex<[(number: CInt, end: UInt64, file: OwnedFile)]>([])
  /// In bytes: the largest that the kernel makes.
  private let requestSize: UInt64
  private let memory = AvailableMemory()

  init(requestSize: UInt64) { self.requestSize = requestSize }

  /// As ``ReadAhead/noteRead(_:of:in:size:)``.
  func noteRead(_ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64) {
    let largest = pace.withLock { $0.window }
    let ahead = streams.withLock { streams in
      let window = Window.remote(largest: largest / UInt64(max(1, streams.active)))
      return streams.next(range, of: tensor, in: file.rawValue, size: size, window)
    }
    if ahead.isEmpty || CachedPages.hold(ahead, of: file) == true { return }
    // Pages that are dropped before they are read would be fetched twice.
    guard UInt64(ahead.count) <= memory.bytes / 8, let copy = OwnedFile(duplicating: file) else { return }
    let piece = min(max(largest / 8, Self.pieces.lowerBound), Self.pieces.upperBound)
    var start = ahead.lowerBound
    while start < ahead.upperBound {
      let end = min((start / piece + 1) * piece, ahead.upperBound)
      threads.run { [self, start] in fetch(start..<end, of: copy, known: file.rawValue) }
      start = end
    }
  }

  /// Has an open file description of a file used, whose known descriptor is `number`.
  func add(_ file: OwnedFile, of number: CInt, readTo end: UInt64 = 0) {
    handles.withLock { $0.append((number, end, file)) }
  }

  /// On one of the threads.
  private func fetch(_ piece: Range<UInt64>, of file: OwnedFile, known number: CInt) {
    let handle = handle(number, at: piece.lowerBound)
    pace.withLock { $0.begin(at: Self.now) }
    var start = piece.lowerBound
    while start < piece.upperBound {
      let end = min((start / RemoteFiles.blockSize + 1) * RemoteFiles.blockSize, piece.upperBound)
      let hasCome = RemoteFiles.fetch(
        start..<end, of: (handle ?? file).descriptor, orBy: file.descriptor, inRequestsOf: requestSize)
      guard hasCome else { break }
      start = end
    }
    pace.withLock { $0.end(start - piece.lowerBound, at: Self.now) }
    if let handle { add(handle, of: number, readTo: start) }
  }

  /// A descriptor of a file that has read up to `offset`, or another one; nil where all are in use.
  private func handle(_ number: CInt, at offset: UInt64) -> OwnedFile? {
    handles.withLock { handles in
      let index =
        handles.lastIndex { $0.number == number && $0.end == offset }
        ?? handles.lastIndex { $0.number == number }
      return index.map { handles.remove(at: $0).file }
    }
  }

  /// Seconds of a clock that does not jump.
  private static var now: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
