internal import Glibc
internal import Linux
internal import SystemPackage

/// Prefetches ranges of files on a disk into the page cache, on a thread that exists only while there is
/// work.
///
/// It copies the bytes to /dev/null with sendfile(2), which reads like any other program. So the kernel's
/// read-ahead works, with large folios and as many requests as the disk takes. If a worker read past the
/// read-ahead instead, its reader would wait while it sets up megabytes of pages. POSIX_FADV_WILLNEED makes
/// single pages.
final class PageFetcher: Sendable {
  /// If the queue is full, further ranges are not prefetched.
  private let threads = TransientThreads(most: 1, mostWaiting: 64)

  /// /dev/null; nil if it does not exist. Opened early, since worker threads cannot open files later.
  private let nothing = (try? FileDescriptor.open(FilePath("/dev/null"), .writeOnly, options: .closeOnExec))
    .map { OwnedFile($0) }

  /// Queues a range of a file for prefetching. Duplicates the descriptor, so the caller may close it.
  func fetch(_ range: Range<UInt64>, of file: FileDescriptor) {
    guard let nothing, let own = OwnedFile(duplicating: file) else { return }
    threads.run { Self.read(range, of: own.descriptor, into: nothing.descriptor) }
  }

  /// Stops at the end of the file, and at an error: a reader gets its own error later.
  private static func read(_ range: Range<UInt64>, of file: FileDescriptor, into nothing: FileDescriptor) {
    var offset = off_t(clamping: range.lowerBound)
    let end = off_t(clamping: range.upperBound)
    while offset < end, unsafe sendfile(nothing.rawValue, file.rawValue, &offset, end - offset) > 0 {}
  }
}
