internal import CFuse
internal import Glibc
internal import Linux
internal import Synchronization
package import SystemPackage

/// One mount: the connection to the kernel from mounting to the last reader's end.
package final class Session: Sendable {
  /// How long the kernel may remember an entry, attributes or a missing name, in seconds: a day.
  static let cacheSeconds = 86_400.0

  /// libfuse's session. Sharing it is safe: receiving and processing are made for many threads, and the rest
  /// happens before they start or after they end.
  @safe private struct Handle: @unchecked Sendable {
    let pointer: OpaquePointer
  }

  private let handle: Handle
  /// Held for as long as libfuse's session, whose userdata points to it.
  private let context: SessionContext

  /// The mount, from ``mount(at:)`` on.
  private let own = Mutex<OwnMount?>(nil)
  /// The mount's root until it has answered: open(2) with O_PATH. After that nothing of this process may hold the mount.
  private let root = Mutex<FileDescriptor?>(nil)

  /// Prepares a session: fuse_session_new.
  package init(fileSystem: any FileSystem, options: MountOptions) throws(MountError) {
    let context = SessionContext(fileSystem: fileSystem, options: options)
    self.context = context
    let userdata = unsafe Unmanaged.passUnretained(context).toOpaque()
    var arguments = unsafe fuse_args()
    defer { unsafe fuse_opt_free_args(&arguments) }
    for argument in ["stmount", "-o", options.kernelOptions] {
      // The source is a path, of any bytes.
      unsafe fuse_opt_add_arg(&arguments, argument.argumentBytes.map { CChar(truncatingIfNeeded: $0) } + [0])
    }
    var operations = sessionOperations()
    let size = MemoryLayout<fuse_lowlevel_ops>.size
    let created = unsafe capturingStandardError {
      unsafe stmount_session_new(&arguments, &operations, size, userdata)
    }
    guard let session = unsafe created.result else {
      throw MountError(.system, "libfuse refused the mount options: \(unsafe created.messages)")
    }
    handle = unsafe Handle(pointer: session)
    context.whenWritten { [weak self] inode in _ = self?.dropCache { drop in drop(inode) } }
  }

  deinit {
    unsafe fuse_session_destroy(handle.pointer)
  }

  /// The version of the libfuse that is loaded, such as `3.14.0`.
  package static var libraryVersion: String {
    unsafe fuse_pkgversion().map { unsafe String(cString: $0) } ?? "unknown"
  }

  /// Mounts at a directory: fuse_session_mount, which uses mount(2) as root and fusermount3(1) otherwise. No
  /// thread may have been started yet.
  package func mount(at mountPoint: MountPoint) throws(MountError) {
    try FUSEDevice.check()
    let (result, messages) = capturingStandardError {
      unsafe mountPoint.path.withPlatformString { unsafe fuse_session_mount(handle.pointer, $0) }
    }
    guard result == 0 else {
      // If another mount was made there meanwhile, fusermount3 says that the user may not write to it.
      if let other = try? MountTable().topmost(at: mountPoint.path) { throw mountPoint.isTaken(by: other) }
      throw MountError(failedMount: messages, Privileges())
    }
    _ = unsafe stmount_replace_io(handle.pointer)
    let root = try? FileDescriptor.openPath(mountPoint.path)
    guard let own = OwnMount(of: connection, at: mountPoint.path, root: root) else {
      // Both commands get here, and both fail.
      try? root?.close()
      cut()
      MountPoint.clearDead(mountPoint.path)
      throw mountPoint.isTaken(by: nil)
    }
    self.own.withLock { $0 = own }
    if own.identity != nil { self.root.withLock { $0 = root } } else { try? root?.close() }
    if let other = own.predecessor {
      try? self.root.withLock { $0.take() }?.close()
      // A third mount on top undoes itself first, so retry.
      for _ in 0..<20 where detach() != nil { usleep(100_000) }
      throw mountPoint.isTaken(by: other)
    }
  }

  /// What has been asked and answered so far.
  package var counts: RequestCounts { context.counters.current }

  /// The kernel's optional features; known once the mount has answered.
  package var kernelFeatures: KernelFeatures { context.kernelFeatures }

  /// The mount's device number as `MAJOR:MINOR`, once it is mounted.
  var device: String? { own.withLock { $0?.device } }

  /// The descriptor of /dev/fuse.
  private var connection: FileDescriptor { FileDescriptor(rawValue: unsafe fuse_session_fd(handle.pointer)) }

  /// Answers requests until the file system is unmounted and its last open file is closed. Blocks.
  ///
  /// `onReady` is called once, on a thread of its own, when the mount has answered. If no thread can be started, or no memory
  /// for a request on any of them, there is an error and no mount any more.
  package func run(onReady: @escaping @Sendable () -> Void) throws(MountError) {
    context.crew.whenGrowing { [self] in worker.run(isExtra: true) }
    defer { context.crew.whenGrowing {} }
    let workers = (0..<Crew.base).compactMap { _ in
      WorkerThread(stackSize: Crew.stackSize) { [self] in work() }
    }
    for _ in workers.count..<Crew.base { context.crew.leave() }
    // If the workers find no memory, this thread waits until the process ends.
    let ready =
      workers.isEmpty
      ? nil
      : WorkerThread { [self] in
        waitForAnswer()
        onReady()
      }
    guard let ready else {
      detach()
      throw MountError(
        .system,
        "cannot start a thread to answer requests; raise the limits of processes (ulimit -u) and memory (-v)")
    }
    for worker in workers { worker.join() }
    while context.crew.count > 0 { usleep(1000) }
    // /sys/fs/fuse/connections can cut the connection, and the mount stays.
    detach()
    guard unsafe fuse_session_exited(handle.pointer) != 0 else {
      throw MountError(
        .system, "out of memory for requests; raise its limit (ulimit -v)")
    }
    ready.join()
  }

  /// Waits until a request has gone to a worker and come back: fstatvfs(3), which the kernel never answers itself.
  ///
  /// It does not use the path. An autofs trigger on the path lets nobody through until the command that mounts has ended, and
  /// that command waits for this call.
  private func waitForAnswer() {
    guard let root = root.withLock({ $0.take() }) else { return }
    var status = statvfs()
    _ = unsafe fstatvfs(root.rawValue, &status)
    try? root.close()
  }

  /// Runs one worker, which opens no files.
  private func work() {
    // Sanitizers report from the failing thread, and open files and start a program there.
    #if !SANITIZED
      LeastPrivilege.confineThread()
    #endif
    worker.run()
  }

  private var worker: Worker {
    unsafe Worker(of: handle.pointer, receiver: context.receiver, crew: context.crew)
  }

  /// Drops the kernel's cached pages and mappings of inodes: fuse_lowlevel_notify_inval_inode. Later reads come from the file
  /// system. Inodes that the kernel does not know cost about a microsecond.
  ///
  /// `each` calls its argument for every inode, on a thread of its own. The kernel waits there for reads in progress, which the
  /// workers have to answer. A worker that calls this may take its time from then on, as after
  /// sending what is not in memory. False if no thread could be started, and nothing is dropped.
  package func dropCache(of each: @escaping @Sendable ((InodeNumber) -> Void) -> Void) -> Bool {
    context.receiver.passOn()
    let thread = WorkerThread(stackSize: Crew.stackSize) { [self] in
      each { inode in
        _ = unsafe fuse_lowlevel_notify_inval_inode(handle.pointer, fuse_ino_t(inode.number), 0, 0)
      }
    }
    thread?.detach()
    return thread != nil
  }

  // MARK: - The end

  /// Unmounts lazily: open files stay readable, and ``run(onReady:)`` returns when the last is closed. umount2(2), or
  /// fusermount3(1) without privileges.
  ///
  /// Returns what went wrong, or nil. Does nothing if the mount is gone already. Keeps a mount that has another mount on it or in
  /// it, since that one would be unmounted too.
  @discardableResult
  package func detach() -> String? {
    var outcome = unmount(lazily: true)
    // fusermount3 reads the mount table twice, and gives up if a mount was made elsewhere in between.
    for _ in 0..<10 {
      guard case .failed = outcome else { break }
      usleep(100_000)
      outcome = unmount(lazily: true)
    }
    return switch outcome {
    case .unmounted, .gone: nil
    case .inUse: "it is in use"
    case .covered(let reason), .failed(let reason): reason
    }
  }

  /// Unmounts unless something holds the mount: an open file, a mapping, a working directory, a mount on it or in it.
  /// umount2(2), or fusermount3(1). True if that was done.
  package func unmountIfFree() -> Bool { unmount(lazily: false) == .unmounted }

  private func unmount(lazily isLazy: Bool) -> OwnMount.Outcome {
    guard let own = own.withLock({ $0 }) else { return .gone }
    return own.unmount(lazily: isLazy, isConnected: isConnected)
  }

  /// True until the file system is unmounted or its connection cut: poll(2) of /dev/fuse tells without waiting.
  private var isConnected: Bool {
    var device = pollfd(fd: connection.rawValue, events: 0, revents: 0)
    return unsafe poll(&device, 1, 0) == 0
  }

  /// Makes the mount read-only again if somebody has made it writable: ``OwnMount/restoreReadOnly()``.
  package func restoreReadOnly() throws(Errno) -> Bool {
    guard let own = own.withLock({ $0 }) else { return false }
    return try own.restoreReadOnly()
  }

  /// The requests that are being answered. One that is here a second later waits for its source.
  package var requestsUnderWay: Set<UInt64> { context.requestsUnderWay.current }

  /// Gives up the connection to the kernel, once no thread of this process reads from it: every request that waits fails, and
  /// every open file is dead. Call it only at the end of the process: dup2(2).
  package func cut() {
    guard let null = try? FileDescriptor.open(FilePath("/dev/null"), .readWrite, options: .closeOnExec) else {
      return
    }
    _ = try? null.duplicate(as: connection)
    try? null.close()
  }
}
