internal import Glibc
internal import Linux
internal import Synchronization
package import SystemPackage

/// Prefetches what a sequential reader will need next, by a thread of its own.
package final class ReadAhead: Sendable {
  private let streams = Mutex(Streams())
  private let fetcher = PageFetcher()

  /// Knows of no stream yet.
  package init() {}

  /// Records a read, and prefetches what follows if the access is sequential.
  ///
  /// Both ranges are bytes of the file, which has `size`; `tensor` holds `range`, and is where a reader is expected to stay.
  package func noteRead(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64
  ) {
    let ahead = streams.withLock { $0.next(range, of: tensor, in: file.rawValue, size: size) }
    if ahead.isEmpty { return }
    // The kernel's own read-ahead is in front of this one, and goes on only where somebody reads what it has read.
    let far = ahead.lowerBound..<max(ahead.upperBound, min(ahead.upperBound + Stream.largestWindow, size))
    if CachedPages.hold(far, of: file) != true { fetcher.fetch(ahead, of: file) }
  }
}
