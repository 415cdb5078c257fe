internal import Glibc
public import SystemPackage

/// Pages of a file that stay in the page cache until the object is released: mlock(2). The kernel can drop other pages at any time,
/// even if much memory is free (DAMON_RECLAIM).
@safe public final class PinnedPages {
  private let address: UnsafeMutableRawPointer
  private let count: Int

  /// Pins bytes `range`, which begins at a page boundary.
  public init(_ file: FileDescriptor, _ range: Range<Int>) throws(Errno) {
    let start = unsafe mmap(nil, range.count, PROT_READ, MAP_SHARED, file.rawValue, off_t(range.lowerBound))
    guard let start = unsafe start, unsafe start != MAP_FAILED else { throw Errno(rawValue: errno) }
    unsafe address = start
    count = range.count
    guard unsafe mlock(address, count) == 0 else { throw Errno(rawValue: errno) }
  }

  deinit { unsafe munmap(address, count) }
}
