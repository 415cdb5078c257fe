internal import Glibc
internal import Synchronization
public import SystemPackage

/// Sees to it that a file's pages are on their way before a reply needs them.
///
/// A reply is copied from the file's mapping by the kernel, and what is not in memory then would be read by page
/// faults: one page each, or megabytes around each. So each request's range is announced beforehand, and nothing
/// else, but for a stream, which has the bytes after it announced too. Announcing is posix_fadvise(2) with
/// POSIX_FADV_WILLNEED, which reads in the background, and on a network file system in large requests. It takes
/// 20 µs for a MiB that is in memory already; cachestat(2) finds that out in less than one.
public final class ReadAhead: Sendable {
  /// How much one call announces, in bytes: the kernel cuts longer ones to the device's largest request.
  private static let piece: UInt64 = 128 << 10

  private final class Slot: Sendable {
    let stream = Mutex(Stream())
  }

  /// The streams of as many regions at a time; a region's place is its offset, scattered.
  private let slots = (0..<64).map { _ in Slot() }

  /// Knows of no stream yet.
  public init() {}

  /// Announces what a read of `range` needs, or, where `isRead`, what those after it will. Both ranges are bytes of the
  /// file; `region` is the part of it that a stream stays in, and holds `range`.
  public func willRead(
    _ range: Range<UInt64>, of region: Range<UInt64>, in file: FileDescriptor, isRead: Bool = false
  ) {
    // The top six bits of a Fibonacci hash.
    let slot = Int((region.lowerBound &* 0x9E37_79B9_7F4A_7C15) >> 58)
    var rest = slots[slot].stream.withLock { $0.next(range, of: region) }
    if isRead { rest = max(rest.lowerBound, range.upperBound)..<max(rest.upperBound, range.upperBound) }
    if rest.isEmpty || CachedPages.hold(rest, of: file) == true { return }
    while !rest.isEmpty {
      let count = min(Self.piece, UInt64(rest.count))
      posix_fadvise(file.rawValue, off_t(rest.lowerBound), off_t(count), Int32(POSIX_FADV_WILLNEED))
      rest = rest.lowerBound + count..<rest.upperBound
    }
  }
}

/// The reads of one region, as far as they follow each other.
struct Stream {
  /// The most that is announced ahead of a reader, in bytes.
  static let largestWindow: UInt64 = 8 << 20
  /// How far requests of one stream may overtake each other: the kernel sends several at once.
  private static let slack: UInt64 = 2 << 20

  /// Where the region begins that was read last.
  private var region = UInt64.max
  /// Where its last request ended.
  private var end: UInt64 = 0
  /// How many bytes have been read in a row up to there.
  private var streamed: UInt64 = 0
  /// Up to where the file has been announced.
  private var announced: UInt64 = 0

  /// What to announce for a request: its own range where it is on its own, what is still missing of a window ahead
  /// where it goes on with a stream. The window grows with the stream, so that a reader who stops has cost little.
  mutating func next(_ range: Range<UInt64>, of region: Range<UInt64>) -> Range<UInt64> {
    let size = range.upperBound - range.lowerBound
    let follows = range.lowerBound == end
    // Late or early by what the kernel has in flight, once there is a stream to belong to.
    let isNear =
      streamed >= Self.slack && range.lowerBound < end + Self.slack && range.upperBound + Self.slack > end
    guard self.region == region.lowerBound, follows || isNear else {
      self.region = region.lowerBound
      end = range.upperBound
      streamed = size
      announced = range.upperBound
      return range
    }
    end = max(end, range.upperBound)
    streamed += size
    let window = min(2 * streamed, Self.largestWindow)
    // In large steps: only once half of the window has been used up.
    guard end + window / 2 > announced else { return end..<end }
    let target = min(end + window, region.upperBound)
    let start = max(range.lowerBound, announced)
    guard start < target else { return end..<end }
    announced = target
    return start..<target
  }
}
