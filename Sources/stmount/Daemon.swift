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
  let mountPoint: FilePath
  let options: MountOptions
  let isForeground: Bool

  /// How long the command waits for the mount to answer, in seconds.
  private static let readySeconds: Int32 = 30

  /// Mounts and serves. In the foreground, returns when the file system is unmounted; otherwise, in the process
  /// that called, as soon as the mount answers.
  func run() throws(Failure) {
    let log = Logger(label: "stmount")
    let fileSystem: TensorFileSystem
    do throws(NameCollision) {
      fileSystem = try TensorFileSystem(collection, options: options, log: log)
    } catch {
      throw Failure(error)
    }
    let readiness = isForeground ? nil : try makeReadiness()
    let session = try mountedSession(fileSystem)

    if let readiness {
      switch try fork() {
      case .parent(let child):
        session.abandon()
        guard readiness.wait(seconds: Self.readySeconds) else {
          // Its end cuts the connection, and the mount can go.
          kill(child, SIGKILL)
          session.detach()
          throw Failure(
            status: EX_OSERR, "the mount on \(mountPoint.printable) does not answer; it was undone")
        }
        // Not by returning: the session belongs to the child now, and must not be destroyed here too.
        _exit(EX_OK)
      case .child: break
      }
    }
    let isWatching = Signals.handle { _ in
      if let problem = session.detach() { log.error("cannot unmount \(mountPoint.printable): \(problem)") }
    }
    if !isWatching { log.warning("no thread for signals can be had: end the mount with umount") }
    session.run {
      let remedy = options.isDirect ? nil : session.raiseKernelReadAhead()
      log.info("\(description)")
      if let remedy { log.info("long reads would be faster after: \(remedy)") }
      readiness?.signal()
    }
    log.info("unmounted \(mountPoint.printable)")
  }

  private var description: String {
    let models = collection.components.map(\.model)
    let tensors = models.reduce(0) { $0 + $1.places.count }
    let bytes = models.reduce(0) { $0 + $1.totalSize }
    return
      "mounted \(PrintableText.quoted(options.source)) on \(mountPoint.printable): \(tensors) tensors, \(bytes) bytes"
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
      let place = try MountPoint(checking: mountPoint, shownAs: mountPoint.printable)
      // From here on a signal waits until somebody can unmount.
      Signals.block()
      let session = try Session(fileSystem: fileSystem, options: options)
      try session.mount(at: place)
      return session
    } catch {
      throw Failure(error)
    }
  }
}
