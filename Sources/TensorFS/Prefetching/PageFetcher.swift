internal import Glibc
internal import Linux
internal import SystemPackage

/// Brings bytes of files on a disk into memory, on a thread of its own that is there as long as there is something to do.
///
/// It reads them as anybody would, and throws them away uncopied: sendfile(2) to /dev/null. So the kernel's own read-ahead
/// is at work, with large folios and as many requests as the disk takes. A worker that came to the end of what
/// has been read ahead would have to set up megabytes of pages, while its reader waits; and announcing
/// (POSIX_FADV_WILLNEED) makes single pages.
final class PageFetcher: Sendable {
  /// Readers who are faster than that do without.
  private let threads = TransientThreads(most: 1, mostWaiting: 64)

  /// /dev/null, from before the workers may open nothing any more; nil where there is none.
  private let nothing = (try? FileDescriptor.open(FilePath("/dev/null"), .writeOnly, options: .closeOnExec))
    .map { OwnedFile($0) }

  /// Queues bytes `range` of a file to be read soon. The descriptor may be closed meanwhile.
  func fetch(_ range: Range<UInt64>, of file: FileDescriptor) {
    guard let nothing, let own = OwnedFile(duplicating: file) else { return }
    threads.run { Self.read(range, of: own.descriptor, into: nothing.descriptor) }
  }

  /// Stops at the file's end, and at an error, which the reader will get itself.
  private static func read(_ range: Range<UInt64>, of file: FileDescriptor, into nothing: FileDescriptor) {
    var offset = off_t(clamping: range.lowerBound)
    let end = off_t(clamping: range.upperBound)
    while offset < end, unsafe sendfile(nothing.rawValue, file.rawValue, &offset, end - offset) > 0 {}
  }
}
