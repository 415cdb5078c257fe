internal import CLinux
internal import Glibc
package import SystemPackage

/// A file on a network, or on a file system in a program: every request takes long, and many can be under way.
package enum RemoteFiles {
  /// The largest request, in bytes, that the kernel makes of the file system that holds a file unless told otherwise. Nil where
  /// that is a disk or memory: fstatfs(2), which asks the file system.
  package static func requestSize(of file: FileDescriptor, on device: DeviceID) -> UInt64? {
    let number = UInt64(device.rawValue)
    // gnu_dev_major(3) and gnu_dev_minor(3). What is on a block device has its major number, and everything else has 0.
    let major = number >> 8 & 0xFFF | number >> 32 & ~0xFFF
    let minor = number & 0xFF | number >> 12 & ~0xFF
    guard major == 0, FileSystemKind(of: file, nanoseconds: 0).reports == .some else { return nil }
    let kibibytes = TextFile.lines(FilePath("/sys/class/bdi/\(major):\(minor)/read_ahead_kb")).first.flatMap {
      UInt64($0)
    }
    // At most 16 MiB, since a request may be as large as what is fetched at a time.
    return min(max(kibibytes ?? 0, 128), 16 << 10) << 10
  }

  /// Opens a file once more, by its entry in /proc/self/fd, so that reads by the new descriptor are a sequence of their own for
  /// the file system below. Nil where that cannot be done.
  ///
  /// Not to be done later: as a rule FUSE drops what is in memory of a file when somebody opens it (without FOPEN_KEEP_CACHE).
  package static func reopen(_ file: FileDescriptor) -> OwnedFile? {
    (try? FileDescriptor.open(file.entry, .readOnly, options: .closeOnExec)).map { OwnedFile($0) }
  }

  /// Such a part of a file, at a multiple of its size, can be had in requests as large as its file system takes: in bytes, the size
  /// of a huge page.
  package static let blockSize: UInt64 = 2 << 20

  /// Fetches a part of a file, at most a block, and waits until it has come. False where not all of it has, or where the file cannot
  /// be mapped, so that nothing of it stays in memory.
  ///
  /// A fault in a mapping that may have huge pages reads a whole block, whatever the read-ahead: madvise(2) with MADV_HUGEPAGE, since
  /// Linux 5.18. FUSE reads a page alone where it has enough under way. What has not come is then announced by another descriptor,
  /// `spare`, in requests of `size` bytes: the kernel takes what follows such a fault for read-ahead, which FUSE leaves out too.
  /// MADV_POPULATE_READ waits, since Linux 5.14.
  package static func fetch(
    _ range: Range<UInt64>, of file: FileDescriptor, orBy spare: FileDescriptor, inRequestsOf size: UInt64
  ) -> Bool {
    let pageSize = UInt64(getpagesize())
    let start = range.lowerBound / pageSize * pageSize
    let count = Int(range.upperBound - start)
    let address = unsafe mmap(nil, count, PROT_READ, MAP_SHARED, file.rawValue, off_t(clamping: start))
    guard let address = unsafe address, unsafe address != MAP_FAILED else { return false }
    defer { unsafe munmap(address, count) }
    let populateRead: CInt = 22
    unsafe madvise(address, count, MADV_RANDOM)
    if file != spare, start % blockSize == 0, count == blockSize,
      unsafe madvise(address, count, MADV_HUGEPAGE) == 0
    {
      unsafe madvise(address, Int(pageSize), populateRead)
    }
    CachedPages.announce(range, of: spare, inPiecesOf: size)
    return unsafe madvise(address, count, populateRead) == 0
  }

  /// Has the kernel read nothing but what it is asked for: posix_fadvise(2) with POSIX_FADV_RANDOM.
  package static func stopReadAhead(of file: FileDescriptor) {
    posix_fadvise(file.rawValue, 0, 0, Int32(POSIX_FADV_RANDOM))
  }
}
