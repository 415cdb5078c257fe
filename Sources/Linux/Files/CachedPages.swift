internal import CLinux
internal import Glibc
package import SystemPackage

/// Which bytes of a file are in the page cache, if its file system can tell: RWF_NOWAIT of preadv2(2). ext4, XFS, Btrfs
/// and tmpfs can. Network file systems cannot as a rule; there even fstat(2) may have to wait.
package enum CachedPages {
  /// Reads as many bytes as `target` has if all of them are in memory. False if they are not; what `target` holds then is not
  /// known.
  package static func read(
    from offset: UInt64, of file: FileDescriptor, into target: inout MutableRawSpan
  ) -> Bool {
    unsafe target.withUnsafeMutableBytes { buffer in
      unsafe stmount_read_cached(file.rawValue, buffer.baseAddress, buffer.count, off_t(clamping: offset))
        == buffer.count
    }
  }

  /// Copies mapped bytes of a file that are in memory: process_vm_readv(2), which sends no request to the file system, as pread(2)
  /// of FUSE can, and raises no SIGBUS. False if they are not to be had.
  package static func copy(_ mapped: RawSpan, to target: UnsafeMutableRawBufferPointer) -> Bool {
    unsafe mapped.withUnsafeBytes { source in
      unsafe stmount_copy_own_memory(source.baseAddress, target.baseAddress, target.count) == target.count
    }
  }

  /// True if bytes `range` of the file are in memory, as far as that can be told at little cost: all pages are there, or are
  /// expected, and the last has arrived.
  package static func areResident(_ range: Range<UInt64>, of file: FileDescriptor) -> Bool {
    guard let last = range.last else { return true }
    if hold(range, of: file) == false { return false }
    var byte: UInt8 = 0
    return unsafe stmount_read_cached(file.rawValue, &byte, 1, off_t(clamping: last)) == 1
  }

  /// Whether all pages of a range are in memory or being read: cachestat(2). Nil if the kernel lacks the call, or refuses it
  /// to this user.
  package static func hold(_ range: Range<UInt64>, of file: FileDescriptor) -> Bool? {
    let pageSize = UInt64(getpagesize())
    let pages = (range.upperBound + pageSize - 1) / pageSize - range.lowerBound / pageSize
    let cached = stmount_cached_pages(file.rawValue, range.lowerBound, UInt64(range.count))
    return cached < 0 ? nil : UInt64(cached) >= pages
  }

  /// Makes the kernel fetch bytes of a file in the background, in large requests, unless they are in memory: posix_fadvise(2)
  /// with POSIX_FADV_WILLNEED.
  ///
  /// An answer that is copied from the file's mapping would fetch them by page faults, one page each, or megabytes around
  /// each. The call takes 20 µs for a MiB that is in memory already; cachestat(2) finds that out in less than one.
  ///
  /// `piece` is what the kernel fetches for one call, in bytes: of a longer one it fetches the beginning alone. Pieces end at
  /// multiples of their size, so that none touches a page more and becomes two requests.
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
