internal import Glibc
internal import SystemPackage

/// A read-only mapping of a whole file. Safe to share: nothing writes to it, and only
/// ``SourceFile/mappedBytes(_:)`` accesses it.
@safe final class SourceMapping: @unchecked Sendable {
  let start: UnsafeRawPointer
  private let count: Int

  /// Maps the first `count` bytes: mmap(2) with MAP_SHARED, so that the pages are those of the page cache.
  ///
  /// Nil for an empty file, which mmap(2) refuses. Also nil if the file system (FUSE with direct_io) or the
  /// address space limit (`ulimit -v`) does not allow it.
  init?(_ descriptor: FileDescriptor, count: Int) {
    guard count > 0 else { return nil }
    let address = unsafe mmap(nil, count, PROT_READ, MAP_SHARED, descriptor.rawValue, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else { return nil }
    // Ranges are announced in advance, so a fault must not read around the page.
    unsafe madvise(address, count, MADV_RANDOM)
    unsafe start = UnsafeRawPointer(address)
    self.count = count
  }

  deinit { unsafe munmap(UnsafeMutableRawPointer(mutating: start), count) }
}
