internal import CFuse
internal import CLinux
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// The table of callbacks. libfuse answers missing ones with ENOSYS, which the kernel remembers: access (it
/// checks permissions itself), flush and lseek (a file without holes needs no request).
func sessionOperations() -> fuse_lowlevel_ops {
  var operations = fuse_lowlevel_ops()
  refuseWrites(&operations)

  unsafe operations.`init` = { userdata, connection in
    guard let userdata = unsafe userdata, let connection = unsafe connection else { return }
    let context = unsafe Unmanaged<SessionContext>.fromOpaque(userdata).takeUnretainedValue()
    unsafe configure(connection, context)
  }

  unsafe operations.lookup = { request, parent, name in
    guard let request = unsafe request else { return }
    unsafe answer(request, .lookup) { (context, reply) throws(Errno) in
      guard let name = unsafe name else { throw .invalidArgument }
      let bytes = unsafe Span<UInt8>(
        _unsafeStart: UnsafeRawPointer(name).assumingMemoryBound(to: UInt8.self), count: strlen(name))
      // The kernel accepts longer names (FUSE_NAME_MAX), but statfs reports this limit.
      guard bytes.count <= NAME_MAX else { throw .fileNameTooLong }
      let attributes = try context.fileSystem.lookup(bytes, in: InodeNumber(number: parent))
      reply.take()?.entry(attributes)
    }
  }

  unsafe operations.getattr = { request, inode, _ in
    guard let request = unsafe request else { return }
    unsafe answer(request, .getattr) { (context, reply) throws(Errno) in
      let attributes = try context.fileSystem.attributes(of: InodeNumber(number: inode))
      reply.take()?.attributes(attributes)
    }
  }

  unsafe operations.open = { request, inode, info in
    guard let request = unsafe request else { return }
    unsafe answer(request, .open) { (context, reply) throws(Errno) in
      guard let info = unsafe info else { throw .invalidArgument }
      guard unsafe info.pointee.flags & O_ACCMODE == O_RDONLY else { throw .readOnlyFileSystem }
      if context.needsNoOpen.load(ordering: .relaxed) { throw .noFunction }
      unsafe info.pointee.keep_cache = 1
      // Otherwise only for readers with O_DIRECT: such a file cannot be mapped shared before libfuse 3.17.
      if unsafe context.options.isDirect || stmount_is_direct(info.pointee.flags) != 0 {
        unsafe info.pointee.direct_io = 1
      }
      unsafe reply.take()?.opened(info)
    }
  }

  unsafe operations.opendir = { request, inode, info in
    guard let request = unsafe request else { return }
    unsafe answer(request, .opendir) { (context, reply) throws(Errno) in
      guard let info = unsafe info else { throw .invalidArgument }
      if context.needsNoOpendir.load(ordering: .relaxed) { throw .noFunction }
      unsafe info.pointee.keep_cache = 1
      unsafe info.pointee.cache_readdir = 1
      unsafe reply.take()?.opened(info)
    }
  }

  unsafe operations.read = { request, inode, count, offset, _ in
    guard let request = unsafe request else { return }
    unsafe answer(request, .read) { (context, reply) throws(Errno) in
      guard let offset = UInt64(exactly: offset) else { throw .invalidArgument }
      let answer = try context.fileSystem.read(InodeNumber(number: inode), at: offset, count: count)
      if let reply = reply.take() { try context.send(answer, reply) }
    }
  }

  unsafe operations.readdir = { request, inode, size, position, _ in
    unsafe list(request, inode, size: size, from: position, withAttributes: false)
  }

  unsafe operations.readdirplus = { request, inode, size, position, _ in
    unsafe list(request, inode, size: size, from: position, withAttributes: true)
  }

  unsafe operations.getxattr = { request, inode, name, size in
    guard let request = unsafe request else { return }
    unsafe answer(request, .getxattr) { (context, reply) throws(Errno) in
      guard let name = unsafe name else { throw .invalidArgument }
      let value = try unsafe extendedAttribute(String(cString: name), of: InodeNumber(number: inode), context)
      reply.take()?.attribute(value, room: size)
    }
  }

  unsafe operations.listxattr = { request, inode, size in
    guard let request = unsafe request else { return }
    unsafe answer(request, .listxattr) { (context, reply) throws(Errno) in
      let names = try context.fileSystem.extendedAttributeNames(of: InodeNumber(number: inode))
      reply.take()?.attribute(names.flatMap { $0 + [0] }, room: size)
    }
  }

  unsafe operations.statfs = { request, _ in
    guard let request = unsafe request else { return }
    unsafe answer(request, .statfs) { (context, reply) throws(Errno) in
      reply.take()?.statistics(context.fileSystem.statistics())
    }
  }

  return operations
}

/// Runs `body` with the request's context and its reply; an error it throws is the answer.
private func answer(
  _ request: fuse_req_t, _ kind: RequestKind,
  _ body: (SessionContext, inout Reply?) throws(Errno) -> Void
) {
  var reply: Reply? = unsafe Reply(owning: request)
  guard let context = unsafe SessionContext.of(request) else { return }
  context.counters.count(kind)
  let place = context.requestsUnderWay.begin()
  defer { context.requestsUnderWay.end(place) }
  do throws(Errno) {
    try body(context, &reply)
  } catch {
    reply.take()?.error(error)
  }
}

/// The value of an extended attribute. Namespaces other than `user.` have none: EOPNOTSUPP says so once for the whole file
/// system. ls -l asks every file for `system.posix_acl_access`; it takes ENODATA as the answer for one file, but
/// stops after EOPNOTSUPP.
private func extendedAttribute(_ name: String, of inode: InodeNumber, _ context: SessionContext) throws(Errno)
  -> [UInt8]
{
  guard name.utf8.starts(with: "user.".utf8) else { throw .notSupported }
  let value = try context.fileSystem.extendedAttribute(Array(name.utf8), of: inode)
  // XATTR_SIZE_MAX: the kernel accepts no longer value.
  guard value.count <= 65_536 else { throw Errno(rawValue: E2BIG) }
  return value
}

private func list(
  _ request: fuse_req_t?, _ inode: fuse_ino_t, size: Int, from position: off_t, withAttributes: Bool
) {
  guard let request = unsafe request else { return }
  unsafe answer(request, .readdir) { (context, reply) throws(Errno) in
    guard let position = UInt64(exactly: position) else { throw .invalidArgument }
    var buffer = unsafe DirectoryBuffer(for: request, size: size, withAttributes: withAttributes)
    try context.fileSystem.list(InodeNumber(number: inode), from: position, into: &buffer)
    reply.take()?.bytes(buffer.bytes)
  }
}

/// Agrees with the kernel on what both can do: struct fuse_conn_info.
private func configure(_ connection: UnsafeMutablePointer<fuse_conn_info>, _ context: SessionContext) {
  func flag(_ value: some BinaryInteger) -> UInt { UInt(truncatingIfNeeded: value) }
  // Listings carry attributes, so that ls -l needs no lookup per file; always, since AUTO makes find and du
  // of large directories several times slower.
  unsafe stmount_want(connection, flag(FUSE_CAP_READDIRPLUS))
  unsafe stmount_refuse(connection, flag(FUSE_CAP_READDIRPLUS_AUTO))
  // Contents never change, so nothing needs to be dropped when attributes are read again.
  unsafe stmount_want(connection, flag(FUSE_CAP_EXPLICIT_INVAL_DATA))
  unsafe stmount_refuse(connection, flag(FUSE_CAP_AUTO_INVAL_DATA))
  // Requests are small and answers are in memory: a pipe would only add cost.
  unsafe stmount_refuse(connection, flag(FUSE_CAP_SPLICE_READ))
  unsafe stmount_refuse(connection, flag(FUSE_CAP_SPLICE_WRITE))
  unsafe stmount_refuse(connection, flag(FUSE_CAP_SPLICE_MOVE))
  unsafe stmount_want_direct_mmap(connection)
  // "." and ".." are looked up by inode, as NFS servers do for an inode that the kernel has dropped.
  unsafe stmount_want(connection, flag(FUSE_CAP_EXPORT_SUPPORT))
  unsafe stmount_set_request_timeout(connection)
  // max_write limits reads too: libfuse derives max_pages from it. Requests of a MiB are no faster.
  unsafe connection.pointee.max_write = 512 << 10
  // As many reads may wait as there may be workers. With the kernel's 12, readers of a slow source would hold up all others.
  unsafe connection.pointee.max_background = UInt32(Crew.most)
  unsafe connection.pointee.congestion_threshold = UInt32(Crew.most * 3 / 4)
  context.needsNoOpen.store(
    unsafe !context.options.isDirect && stmount_is_capable(connection, flag(FUSE_CAP_NO_OPEN_SUPPORT)) != 0,
    ordering: .relaxed)
  context.needsNoOpendir.store(
    unsafe stmount_is_capable(connection, flag(FUSE_CAP_NO_OPENDIR_SUPPORT)) != 0, ordering: .relaxed)
  context.kernelFeatures = unsafe KernelFeatures(connection)
}
