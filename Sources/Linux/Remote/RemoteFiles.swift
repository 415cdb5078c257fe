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

  /// Reads at most as many bytes as `target` has, and returns how many: pread(2), but so that a thread that waits for a file system
  /// in a program can be killed.
  static func read(
    _ file: FileDescriptor, from offset: UInt64, into target: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Int {
    let got = unsafe stmount_read_killably(
      file.rawValue, target.baseAddress, target.count, Int64(clamping: offset))
    guard got >= 0 else { throw Errno(rawValue: CInt(truncatingIfNeeded: -got)) }
    return got
  }

  /// What fstat(2) says of a file, as the kernel knows it; if that has expired, or `isFresh`, as the file system below says now. The
  /// waiting thread can be killed, too.
  ///
  /// Without the time of the last access, for which FUSE would ask after each read. The number of blocks and their size are 0.
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

  /// Opens a file once more, by its entry in /proc/self/fd, so that reads by the new descriptor are a sequence of their own for
  /// the file system below. Nil where that cannot be done.
  ///
  /// Not to be done later: threads may open nothing then, and as a rule FUSE drops what is in memory of a file when somebody opens it
  /// (without FOPEN_KEEP_CACHE).
  package static func reopen(_ file: FileDescriptor) -> OwnedFile? {
    (try? FileDescriptor.open(file.entry, .readOnly, options: .closeOnExec)).map { OwnedFile($0) }
  }

  /// Has the kernel read nothing but what it is asked for: posix_fadvise(2) with POSIX_FADV_RANDOM.
  package static func stopReadAhead(of file: FileDescriptor) {
    posix_fadvise(file.rawValue, 0, 0, Int32(POSIX_FADV_RANDOM))
  }
}
