internal import CFuse
internal import Glibc
internal import SystemPackage

/// The answer to one request of the kernel.
///
/// It cannot be copied and every method consumes it, so a request is answered at most once. A dropped one is
/// answered with EIO, so a request is answered at least once. libfuse frees the request with the answer,
/// even if sending it fails (fuse_reply_err and similar), so nothing may be sent after that either.
@safe struct Reply: ~Copyable {
  private let request: fuse_req_t

  /// Takes over the request, which nothing else may answer from now on.
  @unsafe init(owning request: fuse_req_t) { unsafe self.request = request }

  deinit {
    unsafe SessionContext.of(request)?.counters.countError()
    unsafe fuse_reply_err(request, EIO)
  }

  /// Answers with an error: fuse_reply_err.
  consuming func error(_ errno: Errno) {
    let request = unsafe request
    discard self
    // ENOSYS, and a missing attribute, count as answers.
    if ![.noFunction, .noData, .notSupported].contains(errno) {
      unsafe SessionContext.of(request)?.counters.countError()
    }
    unsafe fuse_reply_err(request, errno.rawValue)
  }

  /// Answers a lookup; nil means a name that is missing permanently: fuse_reply_entry.
  consuming func entry(_ attributes: Attributes?) {
    let request = unsafe request
    discard self
    var entry = fuse_entry_param(attributes)
    unsafe fuse_reply_entry(request, &entry)
  }

  /// Answers getattr: fuse_reply_attr.
  consuming func attributes(_ attributes: Attributes) {
    let request = unsafe request
    discard self
    var status = stat(attributes)
    unsafe fuse_reply_attr(request, &status, Session.cacheSeconds)
  }

  /// Answers an open: fuse_reply_open.
  consuming func opened(_ info: UnsafeMutablePointer<fuse_file_info>) {
    let request = unsafe request
    discard self
    unsafe fuse_reply_open(request, info)
  }

  /// Answers statfs: fuse_reply_statfs.
  consuming func statistics(_ statistics: Statistics) {
    let request = unsafe request
    discard self
    let blockSize: UInt64 = 4096
    var status = statvfs()
    status.f_bsize = UInt(blockSize)
    status.f_frsize = UInt(blockSize)
    status.f_blocks = UInt(statistics.size / blockSize + (statistics.size % blockSize == 0 ? 0 : 1))
    status.f_files = UInt(statistics.inodes)
    status.f_namemax = 255
    unsafe fuse_reply_statfs(request, &status)
  }

  /// Answers with bytes, which the kernel copies directly from their place: fuse_reply_buf. Returns the error, or nil.
  ///
  /// Unreadable memory is EIO for the reader, not a signal here: writev(2) fails with EFAULT.
  @discardableResult
  consuming func bytes(_ bytes: RawSpan) -> Errno? {
    let request = unsafe request
    discard self
    return unsafe bytes.withUnsafeBytes { buffer in
      let result = unsafe fuse_reply_buf(
        request, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
      return result == 0 ? nil : Errno(rawValue: -result)
    }
  }

  /// Answers getxattr or listxattr, which ask for the size by giving none: fuse_reply_xattr.
  consuming func attribute(_ bytes: [UInt8], room: Int) {
    if room == 0 {
      let request = unsafe request
      discard self
      unsafe fuse_reply_xattr(request, bytes.count)
    } else if bytes.count > room {
      error(.outOfRange)
    } else {
      unsafe self.bytes(bytes.span.bytes)
    }
  }
}

// MARK: - C structures

extension fuse_entry_param {
  /// An entry that the kernel may cache; nil is a name that it may cache as missing (inode 0).
  init(_ attributes: Attributes?) {
    self.init()
    entry_timeout = Session.cacheSeconds
    attr_timeout = Session.cacheSeconds
    guard let attributes else { return }
    ino = fuse_ino_t(attributes.inode.number)
    attr = stat(attributes)
  }
}

extension stat {
  init(_ attributes: Attributes) {
    self.init()
    st_ino = ino_t(attributes.inode.number)
    st_mode = attributes.permissions | (attributes.kind == .directory ? S_IFDIR : S_IFREG)
    st_nlink = nlink_t(attributes.linkCount)
    st_uid = attributes.owner
    st_gid = attributes.group
    st_size = off_t(clamping: attributes.size)
    st_blksize = blksize_t(attributes.ioSize)
    // In units of 512 bytes whatever st_blksize says: stat(2).
    st_blocks = blkcnt_t(clamping: attributes.size / 512 + (attributes.size % 512 == 0 ? 0 : 1))
    st_atim = timespec(attributes.accessTime)
    st_mtim = timespec(attributes.modificationTime)
    st_ctim = timespec(attributes.changeTime)
  }
}

extension timespec {
  fileprivate init(_ time: Attributes.Time) {
    self.init(tv_sec: time.seconds, tv_nsec: time.nanoseconds)
  }
}
