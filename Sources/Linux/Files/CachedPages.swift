internal import CLinux
internal import Glibc
package import SystemPackage

/// Finds which bytes of a file are in the page cache: RWF_NOWAIT of preadv2(2). ext4, XFS, Btrfs and tmpfs
/// support it; most network file systems do not, and there even fstat(2) may block.
package enum CachedPages {
  /// Fills `target` if all its bytes are in the page cache. If not, returns false and leaves `target`
  /// undefined.
  package static func read(
    from offset: UInt64, of file: FileDescriptor, into target: inout MutableRawSpan
  ) -> Bool {
    unsafe target.withUnsafeMutableBytes { buffer in
      unsafe stmount_read_cached(file.rawValue, buffer.baseAddress, buffer.count, off_t(clamping: offset))
        == buffer.count
    }
  }

  /// Copies bytes of a mapped file: process_vm_readv(2). Unlike pread(2) on FUSE, it sends no request to the
  /// file system, and unlike a memory access, it raises no SIGBUS. False if a byte is not available.
  package static func copy(_ mapped: RawSpan, to target: UnsafeMutableRawBufferPointer) -> Bool {
    unsafe mapped.withUnsafeBytes { source in
      unsafe stmount_copy_own_memory(source.baseAddress, target.baseAddress, target.count) == target.count
    }
  }

  /// A cheap estimate of whether a range is in the page cache: all its pages are there or being read, and the
  /// last one has arrived.
  package static func areResident(_ range: Range<UInt64>, of file: FileDescriptor) -> Bool {
    guard let last = range.last else { return true }
    // In some thousand calls, cachestat(2) misses a page of a locked file once, but not when asked again (Linux 6.18).
    if hold(range, of: file) == false, hold(range, of: file) == false { return false }
    var byte: UInt8 = 0
    return unsafe stmount_read_cached(file.rawValue, &byte, 1, off_t(clamping: last)) == 1
  }

  /// Whether all pages of a range are in the page cache or being read: cachestat(2). Nil if the kernel lacks
  /// the call, or denies it to this user.
  package static func hold(_ range: Range<UInt64>, of file: FileDescriptor) -> Bool? {
    let pageSize = UInt64(getpagesize())
    let pages = (range.upperBound + pageSize - 1) / pageSize - range.lowerBound / pageSize
    let cached = stmount_cached_pages(file.rawValue, range.lowerBound, UInt64(range.count))
    return cached < 0 ? nil : UInt64(cached) >= pages
  }

  /// Makes the kernel prefetch a range in the background, in large requests: posix_fadvise(2) with
  /// POSIX_FADV_WILLNEED. Does nothing if the range is in the page cache.
  ///
  /// Without it, a reply from the file's mapping would read by page faults: one page, or megabytes, at a
  /// time. The call takes 20 µs for a MiB that is in memory; cachestat(2) detects that in less than 1 µs.
  ///
  /// `piece` is the number of bytes that the kernel fetches for one call; it ignores the rest of a longer
  /// range. Pieces end at multiples of their size, so that no piece is split into two requests.
  package static func announce(
    _ range: Range<UInt64>, of file: FileDescriptor, inPiecesOf piece: UInt64 = 128 << 10
  ) {
    if hold(range, of: file) == true { return }
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min(range.upperBound, (start / piece + 1) * piece)
      posix_fadvise(file.rawValue, off_t(start), off_t(end - start), Int32(POSIX_FADV_WILLNEED))
      start = end
    }
  }
}
