import Command
import FUSE
import Glibc
import Logging
import Safetensors
import SystemPackage
import TensorFS

/// The life of one mount: mounted, sent to the background, served, and gone.
struct Daemon {
  let collection: ModelCollection
  let invocation: Invocation
  let manager: ServiceManager

  /// How long the command waits for the mount to answer, in seconds.
  private static let readySeconds: Int32 = 30

  /// Mounts and serves. In the foreground, returns when the file system is unmounted; otherwise, in the process
  /// that called, as soon as the mount answers.
  func run() throws(Failure) {
    var log = Logger(label: "stmount")
    log[metadataKey: Logger.mountKey] = "\(invocation.mountPointName)"
    let fileSystem: TensorFileSystem
    do throws(NameCollision) {
      fileSystem = try TensorFileSystem(collection, options: invocation.options, log: log)
    } catch {
      throw Failure(error)
    }
    if invocation.isFake { return }
    let readiness = invocation.isForeground ? nil : try makeReadiness()
    let session = try mountedSession(fileSystem)

    if let readiness {
      switch try fork() {
      case .parent(let child): try leave(session, to: child, readiness)
      case .child: break
      }
    }
    Housekeeping(session, idleLimit: invocation.idleLimit, log: log, manager: manager).start()
    session.run {
      let remedy = invocation.options.isDirect ? nil : session.raiseKernelReadAhead()
      log.notice("mounted \(description)")
      if let remedy { log.info("long reads would be faster after: \(remedy)") }
      manager.ready("serving \(description)")
      invocation.ready?.signal()
      readiness?.signal()
    }
    manager.stopping("unmounted")
    log.notice("unmounted \(PrintableText.quoted(invocation.options.source))")
  }

  /// In the process that called: waits until the mount answers, and ends.
  private func leave(_ session: Session, to child: Int32, _ readiness: Readiness) throws(Failure) -> Never {
    session.abandon()
    guard readiness.wait(seconds: Self.readySeconds) else {
      // Its end cuts the connection, and the mount can go.
      kill(child, SIGKILL)
      session.detach()
      throw Failure(
        status: EX_OSERR, "the mount on \(invocation.mountPointName) does not answer; it was undone")
    }
    // Not by returning: the session belongs to the child now, and must not be destroyed here too.
    _exit(EX_OK)
  }

  private var description: String {
    let models = collection.components.map(\.model)
    let tensors = models.reduce(0) { $0 + $1.places.count }
    let bytes = models.map(\.totalSize).clampedSum
    return "\(PrintableText.quoted(invocation.options.source)): \(tensors) tensors, \(bytes) bytes"
  }

  private func makeReadiness() throws(Failure) -> Readiness {
    do throws(Errno) {
      return try Readiness()
    } catch {
      throw .system("cannot make a pipe: \(error)")
    }
  }

  private func fork() throws(Failure) -> ForkedProcess {
    do throws(Errno) {
      return try ForkedProcess.fork()
    } catch {
      throw .system("cannot go to the background: \(error)")
    }
  }

  private func mountedSession(_ fileSystem: TensorFileSystem) throws(Failure) -> Session {
    do throws(MountError) {
      let path = invocation.mountPoint
      let place = try MountPoint(
        checking: path, shownAs: path.printable, clearingDead: invocation.clearsDeadMount)
      // From here on a signal waits until somebody can unmount.
      Signals.block()
      let session = try Session(fileSystem: fileSystem, options: invocation.options)
      try session.mount(at: place)
      return session
    } catch {
      throw Failure(error)
    }
  }
}
