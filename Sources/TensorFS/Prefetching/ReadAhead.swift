internal import Glibc
internal import Linux
internal import Synchronization
package import SystemPackage

/// Sees to it that a file's pages are on their way before a reply needs them.
///
/// A reply may be copied from the file's mapping by the kernel, and what is not in memory then would be read by page
/// faults: one page each, or megabytes around each. So such a request's range is announced beforehand, and nothing else:
/// posix_fadvise(2) with POSIX_FADV_WILLNEED, which reads in the background, and on a network file system in large requests.
/// It takes 20 µs for a MiB that is in memory already; cachestat(2) finds that out in less than one.
///
/// A stream has the bytes after it fetched too, by a thread of its own.
package final class ReadAhead: Sendable {
  /// How much one call announces, in bytes: the kernel cuts longer ones to the device's largest request.
  private static let piece: UInt64 = 128 << 10

  private let streams = Mutex(Streams())
  private let fetcher = PageFetcher()

  /// Knows of no stream yet.
  package init() {}

  /// Takes a read, and has fetched what those after it will need, if it goes on with a stream.
  ///
  /// Both ranges are bytes of the file, which has `size`; `tensor` holds `range`, and is where a reader is expected to stay.
  package func follow(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64
  ) {
    let ahead = streams.withLock { $0.next(range, of: tensor, in: file.rawValue, size: size) }
    if ahead.isEmpty { return }
    // The kernel's own read-ahead is in front of this one, and goes on only where somebody reads what it has read.
    let far = ahead.lowerBound..<max(ahead.upperBound, min(ahead.upperBound + Stream.largestWindow, size))
    if CachedPages.hold(far, of: file) != true { fetcher.fetch(ahead, of: file) }
  }

  /// Announces what a read needs itself, unless it is in memory.
  package static func announce(_ range: Range<UInt64>, of file: FileDescriptor) {
    if CachedPages.hold(range, of: file) == true { return }
    var rest = range
    while !rest.isEmpty {
      let count = min(piece, UInt64(rest.count))
      posix_fadvise(file.rawValue, off_t(rest.lowerBound), off_t(count), Int32(POSIX_FADV_WILLNEED))
      rest = rest.lowerBound + count..<rest.upperBound
    }
  }
}
