internal import CLinux
internal import Glibc
package import SystemPackage

/// Files on network file systems or FUSE, where requests are slow, but many can be in flight.
package enum RemoteFiles {
  /// The largest request, in bytes, that the kernel sends to the file system by default. Nil on a disk or in
  /// memory. Calls fstatfs(2), which is a request to the file system.
  package static func requestSize(of file: FileDescriptor, on device: DeviceID) -> UInt64? {
    let number = text(device)
    // Files on a block device have its major number, others have 0.
    guard number.hasPrefix("0:"), FileSystemKind(of: file, nanoseconds: 0).reports == .some else {
      return nil
    }
    let kibibytes = TextFile.lines(FilePath("/sys/class/bdi/\(number)/read_ahead_kb")).first.flatMap {
      UInt64($0)
    }
    // The size of a request is also the size of a prefetch, so it is limited to 16 MiB.
    return min(max(kibibytes ?? 0, 128), 16 << 10) << 10
  }

  /// A device number as the kernel writes it, `MAJOR:MINOR`: gnu_dev_major(3), gnu_dev_minor(3).
  package static func text(_ device: DeviceID) -> String {
    let number = UInt64(device.rawValue)
    return "\(number >> 8 & 0xFFF | number >> 32 & ~0xFFF):\(number & 0xFF | number >> 12 & ~0xFF)"
  }

  /// Reads at most as many bytes as `target` has, and returns their number. Unlike pread(2), a thread that
  /// waits for FUSE can be killed.
  static func read(
    _ file: FileDescriptor, from offset: UInt64, into target: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Int {
    let got = unsafe stmount_read_killably(
      file.rawValue, target.baseAddress, target.count, Int64(clamping: offset))
    guard got >= 0 else { throw Errno(rawValue: CInt(truncatingIfNeeded: -got)) }
    return got
  }

  /// Returns a file's attributes, as fstat(2) does: cached ones while they are valid, or, with `isFresh`,
  /// those of the file system below. A waiting thread can be killed.
  ///
  /// Omits the access time, which FUSE would have to request after each read. The number of blocks and their
  /// size are 0.
  package static func status(of file: FileDescriptor, isFresh: Bool = false) throws(Errno) -> Stat {
    var contents = stmount_contents()
    let result = unsafe stmount_get_contents(file.rawValue, isFresh ? 1 : 0, &contents)
    guard result == 0 else { throw Errno(rawValue: -result) }
    var status = stat()
    status.st_dev = dev_t(contents.device)
    status.st_ino = ino_t(contents.inode)
    status.st_mode = contents.mode
    status.st_nlink = nlink_t(contents.links)
    status.st_uid = contents.user
    status.st_gid = contents.group
    status.st_size = off_t(clamping: contents.size)
    status.st_mtim = timespec(tv_sec: Int(contents.modified), tv_nsec: Int(contents.modified_nanoseconds))
    status.st_ctim = timespec(tv_sec: Int(contents.changed), tv_nsec: Int(contents.changed_nanoseconds))
    return Stat(rawValue: status)
  }

  /// Opens a file again through /proc/self/fd, so that the file system sees reads of the new descriptor as a
  /// separate sequence. Nil if that fails.
  ///
  /// Must be called early: worker threads cannot open files later, and FUSE normally drops a file's cached
  /// pages when it is opened (without FOPEN_KEEP_CACHE).
  package static func reopen(_ file: FileDescriptor) -> OwnedFile? {
    (try? FileDescriptor.open(file.entry, .readOnly, options: .closeOnExec)).map { OwnedFile($0) }
  }

  /// Disables the kernel's read-ahead for a file: posix_fadvise(2) with POSIX_FADV_RANDOM.
  package static func stopReadAhead(of file: FileDescriptor) {
    posix_fadvise(file.rawValue, 0, 0, Int32(POSIX_FADV_RANDOM))
  }
}
