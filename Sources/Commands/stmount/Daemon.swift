import FUSE
import Glibc
import Linux
import Logging
import Models
import Safetensors
import SystemPackage
import TensorFiles
import TensorFS

/// The life of one mount: mount, go to the background, serve, end.
struct Daemon: Sendable {
  let collection: ModelCollection
  /// The models that are quantised, dequantised.
  let dequantized: ModelCollection?
  let invocation: Invocation
  let manager: ServiceManager
  /// What a process in the background closes.
  let inherited: InheritedFiles

  /// How long the command waits for the mount to answer, in seconds.
  private static let readySeconds: Int32 = 30

  /// Mounts and serves. In the foreground, returns when the file system is unmounted; otherwise, in the process
  /// that called, as soon as the mount answers.
  func run() throws(Failure) {
    let log = log
    let fileSystem: DequantizingFileSystem
    do throws(NamesError) {
      fileSystem = try DequantizingFileSystem(
        collection, dequantized: dequantized, options: invocation.options, log: log)
    } catch {
      throw Failure(error)
    }
    if invocation.isFake { return }
    let place = try freeMountPoint()
    if invocation.isForeground { return try serve(fileSystem, at: place, log: log) }
    let readiness = try makeReadiness()
    // Fork before mounting, so that nothing has to be undone if fork(2) fails.
    let child = try start {
      inherited.close(except: invocation.ready?.descriptor)
      do throws(Failure) {
        try serve(fileSystem, at: place, readiness, log: log)
        return EX_OK
      } catch {
        manager.status(error.message)
        log.error("\(error.message)")
        printError(error.message, command: "stmount")
        return error.status
      }
    }
    try leave(to: child, readiness, place)
  }

  /// Mounts, and serves until the file system is unmounted. In the background, reports to `readiness` when it answers.
  private func serve(
    _ fileSystem: DequantizingFileSystem, at place: MountPoint, _ readiness: Readiness? = nil, log: Logger
  ) throws(Failure) {
    FreedMemory.returnToSystem()
    // From here on, signals wait until this process can unmount.
    Signals.block()
    let session = try mountedSession(fileSystem, at: place)
    if readiness != nil { ForkedProcess.leaveTerminal() }
    fileSystem.whenSourceChanges { [weak session] inodes in session?.dropCache(of: inodes) ?? true }
    Housekeeping(session, idleLimit: invocation.idleLimit, log: log, manager: manager).start()
    do throws(MountError) {
      try session.run { announce(session, to: readiness, log: log) }
    } catch {
      throw Failure(error)
    }
    manager.stopping("unmounted")
    log.notice("unmounted \(PrintableText.quoted(invocation.options.source.argumentBytes))")
    // A store that does not answer would have whoever closes a file of it wait.
    let files = collection.components.flatMap(\.model.shards).flatMap(\.files)
    if files.contains(where: { $0.requestSize != nil }) { ForkedProcess.endAtOnce(EX_OK) }
  }

  /// Reports to all that wait for it that the mount answers.
  private func announce(_ session: Session, to readiness: Readiness?, log: Logger) {
    let remedy = invocation.options.isDirect ? nil : session.raiseKernelReadAhead()
    log.notice("mounted \(description)")
    if let remedy { log.info("long reads would be faster after: \(remedy)") }
    manager.ready("serving \(description)")
    invocation.ready?.signal()
    // The command was ended before it received the report, so the mount is not wanted.
    if readiness?.signal() == false { session.detach() }
  }

  /// In the calling process: waits until the mount answers, and exits. A signal ends it at once, which undoes the
  /// mount.
  private func leave(to child: Int32, _ readiness: Readiness, _ place: MountPoint) throws(Failure) -> Never {
    // _exit(2), not return: cleaning up is the child's task now.
    if readiness.wait(seconds: Self.readySeconds) {
      if isatty(STDOUT_FILENO) == 1, !invocation.isQuiet {
        try? StandardOutput.write(Array(mountedLine.utf8))
      }
      _exit(EX_OK)
    }
    var status = ForkedProcess.exitStatus(of: child)
    if status == nil {
      kill(child, SIGKILL)
      status = ForkedProcess.exitStatus(of: child)
    }
    // It may have been unable to start a process for unmounting.
    MountPoint.clearDead(place.path, subtypes: invocation.subtypes)
    // The child has already printed why it could not mount.
    if let status, 1..<128 ~= status { _exit(status) }
    throw Failure(
      status: EX_OSERR, "the mount on \(invocation.mountPointName) does not answer; it was undone")
  }

  private var log: Logger {
    var log = Logger(label: "stmount")
    log[metadataKey: Logger.mountKey] = "\(invocation.mountPointName)"
    return log
  }

  private var description: String {
    let models = collection.components.map(\.model)
    let tensors = PrintableText.counted(models.reduce(0) { $0 + $1.places.count }, "tensor")
    let bytes = models.map(\.totalSize).clampedSum
    return
      "\(PrintableText.quoted(invocation.options.source.argumentBytes)): \(tensors), \(PrintableText.counted(bytes, "byte"))"
  }

  private var mountedLine: String {
    MountedLine.text(
      of: collection, on: invocation.mountPointName, source: invocation.sources[0],
      isDequantized: dequantized != nil)
  }

  private func makeReadiness() throws(Failure) -> Readiness {
    do throws(Errno) {
      return try Readiness()
    } catch {
      throw .system("cannot make a pipe: \(error)")
    }
  }

  private func start(_ body: @escaping @Sendable () -> Int32) throws(Failure) -> Int32 {
    do throws(Errno) {
      return try ForkedProcess.start(body)
    } catch {
      throw .system("cannot go to the background: \(error)")
    }
  }

  private func freeMountPoint() throws(Failure) -> MountPoint {
    do throws(MountError) {
      let path = invocation.mountPoint
      if invocation.clearsDeadMount { MountPoint.clearDead(path, subtypes: invocation.subtypes) }
      let place = try MountPoint(checking: path, shownAs: path.printable)
      try place.checkAccess()
      for warning in MountedLine.warnings(place, shownAs: path.printable, sources: invocation.sources) {
        printError("warning: \(warning)", command: "stmount", priority: LOG_WARNING)
      }
      return place
    } catch {
      throw Failure(error)
    }
  }

  private func mountedSession(_ fileSystem: DequantizingFileSystem, at place: MountPoint) throws(Failure)
    -> Session
  {
    do throws(MountError) {
      let session = try Session(fileSystem: fileSystem, options: invocation.options)
      try session.mount(at: place)
      return session
    } catch {
      throw Failure(error)
    }
  }
}
