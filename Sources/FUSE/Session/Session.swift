internal import CFuse
internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// One mount: the connection to the kernel from mounting to the last reader's end.
package final class Session: Sendable {
  /// How long the kernel may remember an entry, attributes or a missing name, in seconds: a day.
  static let cacheSeconds = 86_400.0

  /// Threads that answer requests. More than the processors, since a request may wait for a disk.
  private static let workerCount = 8
  /// In bytes. Nothing that answers a request recurses, and eight times eight MiB would be most of what a daemon asks for.
  private static let workerStackSize = 1 << 20

  /// libfuse's session. Sharing it is safe: receiving and processing are made for many threads, and the rest
  /// happens before they start or after they end.
  @safe private struct Handle: @unchecked Sendable {
    let pointer: OpaquePointer
  }

  private let handle: Handle
  /// Held for as long as libfuse's session, whose userdata points to it.
  private let context: SessionContext

  /// Where the session is mounted, from ``mount(at:)`` on.
  private struct Place {
    var path: FilePath
    /// The device number that finds the mount again wherever it was moved.
    var device: String?
    /// The mount's root, until it has answered: open(2) with O_PATH.
    var root: FileDescriptor?
  }

  private let place = Mutex<Place?>(nil)

  /// Prepares a session: fuse_session_new.
  package init(fileSystem: any FileSystem, options: MountOptions) throws(MountError) {
    let context = SessionContext(fileSystem: fileSystem, options: options)
    self.context = context
    let userdata = unsafe Unmanaged.passUnretained(context).toOpaque()
    var arguments = unsafe fuse_args()
    defer { unsafe fuse_opt_free_args(&arguments) }
    for argument in ["stmount", "-o", options.kernelOptions] {
      // The source is a path, of any bytes.
      unsafe fuse_opt_add_arg(&arguments, argument.argumentBytes.map { CChar(bitPattern: $0) } + [0])
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
    guard result == 0 else { throw MountError(failedMount: messages, Privileges()) }
    _ = unsafe stmount_silence_bad_addresses(handle.pointer)
    let device = try? MountTable().topmost(at: mountPoint.path)?.device
    let root = try? FileDescriptor.open(
      mountPoint.path, FileDescriptor.AccessMode(rawValue: __O_PATH), options: [.directory, .closeOnExec])
    place.withLock { $0 = Place(path: mountPoint.path, device: device, root: root) }
  }

  /// What has been asked and answered so far.
  package var counts: RequestCounts { context.counters.current }

  /// What the kernel can do of that which makes mounts fast; known once the mount has answered.
  package var kernelFeatures: KernelFeatures { context.kernelFeatures }

  /// The mount's device number as `MAJOR:MINOR`, once it is mounted.
  var device: String? { place.withLock { $0?.device } }

  /// Answers requests until the file system is unmounted and its last open file is closed. Blocks.
  ///
  /// `onReady` is called once, on a thread of its own, when the mount has answered. Where no thread can be had, or no memory
  /// for a request on any of them, there is an error and no mount any more.
  package func run(onReady: @escaping @Sendable () -> Void) throws(MountError) {
    let workers = (0..<Self.workerCount).compactMap { _ in
      WorkerThread(stackSize: Self.workerStackSize) { [self] in work() }
    }
    // Should the workers find no memory, this one waits until the process ends.
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
    // The connection can be cut under a mount that stays, through /sys/fs/fuse/connections.
    detach()
    guard unsafe fuse_session_exited(handle.pointer) != 0 else {
      throw MountError(
        .system, "there is no memory left to answer requests with; raise its limit (ulimit -v)")
    }
    ready.join()
  }

  /// Waits until a request has gone to a worker and come back: fstatvfs(3), which the kernel never answers itself.
  ///
  /// Not by the path: on its way there may be an autofs trigger, which lets nobody through until the command that
  /// mounts has ended, and it waits for this.
  private func waitForAnswer() {
    guard let root = place.withLock({ $0?.root.take() }) else { return }
    var status = statvfs()
    _ = unsafe fstatvfs(root.rawValue, &status)
    try? root.close()
  }

  /// One worker, which needs no file but those that are open.
  private func work() {
    // A sanitizer reports from the thread that erred, and opens files and starts a program for it.
    #if !SANITIZED
      LeastPrivilege.confineThread()
    #endif
    unsafe Worker(of: handle.pointer, receiver: context.receiver).run()
  }

  /// Has the kernel forget what it holds of the contents of files, which it shall not read anew but from the file system:
  /// fuse_lowlevel_notify_inval_inode. Mappings of them lose their pages too. Inodes that it does not know cost about a
  /// microsecond.
  ///
  /// `each` calls what it is given for every inode, on a thread of its own: the kernel waits there for reads that are under
  /// way, which the workers have to answer. A worker that calls this may take its time from then on, as after
  /// sending what is not in memory.
  package func dropCache(of each: @escaping @Sendable ((InodeNumber) -> Void) -> Void) {
    context.receiver.passOn()
    WorkerThread(running: { [self] in
      each { inode in
        _ = unsafe fuse_lowlevel_notify_inval_inode(handle.pointer, fuse_ino_t(inode.number), 0, 0)
      }
    })?.detach()
  }

  /// Takes the mount out of the tree of names at once; files that are open stay readable, and ``run()`` returns
  /// when the last is closed. umount2(2) with MNT_DETACH, or fusermount3(1) for those who may not.
  ///
  /// Returns what went wrong, or nil. Does nothing where the mount is gone already.
  @discardableResult
  package func detach() -> String? {
    var problem = unmount(lazily: true)
    // fusermount3 looks at the table of mounts twice, and gives up where a mount elsewhere came in between.
    for _ in 0..<10 where problem != nil {
      usleep(100_000)
      problem = unmount(lazily: true)
    }
    return problem
  }

  /// Unmounts unless something holds the mount: an open file, a mapping, a working directory, a mount below it.
  /// umount2(2) without flags, or fusermount3(1). True where nothing is mounted any more.
  package func unmountIfFree() -> Bool { unmount(lazily: false) == nil }

  /// True until the file system is unmounted or its connection cut: poll(2) of /dev/fuse tells without waiting.
  private var isConnected: Bool {
    var device = unsafe pollfd(fd: fuse_session_fd(handle.pointer), events: 0, revents: 0)
    return unsafe poll(&device, 1, 0) == 0
  }

  private func unmount(lazily isLazy: Bool) -> String? {
    guard let place = place.withLock({ $0 }) else { return nil }
    guard let table = try? MountTable() else { return "cannot read /proc/self/mountinfo" }
    let candidates =
      if let device = place.device {
        table.entries.filter { $0.device == device }.map(\.mountPoint)
      } else {
        [place.path]
      }
    // A device number lives as long as its mount, and is then the next one's, whoever makes that. While the connection
    // stands, so does the mount; once it is cut, what is left of this mount is dead, and what is alive is another's.
    let isConnected = isConnected
    var problem: String?
    for path in candidates.reversed() where isConnected || MountPoint.isDead(path) {
      let result = unsafe path.withPlatformString { unsafe umount2($0, isLazy ? Int32(MNT_DETACH) : 0) }
      if result == 0 || errno == EINVAL || errno == ENOENT { continue }
      if errno == EBUSY, !isLazy { return "the mount is in use" }
      if let failure = runFusermount(unmounting: path, lazily: isLazy) { problem = failure }
    }
    return problem
  }
}
