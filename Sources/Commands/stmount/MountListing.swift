import FUSE
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The options of stmount(1) for existing mounts: `--list` and `--unmount`.
enum MountListing {
  /// Prints a line for each mount: source, mount point, the daemon's process, and whether it answers.
  static func print() throws(Failure) {
    let mounts: [ServedMount]
    do throws(Errno) {
      mounts = try ServedMount.all()
    } catch {
      throw .system("cannot read /proc/self/mountinfo: \(error)")
    }
    let rows = mounts.map { mount in
      [
        PrintableText.plain(Array(mount.source.utf8)), PrintableText.plain(mount.mountPoint.bytes),
        mount.daemon.map { "\($0)" } ?? "-", mount.state.rawValue,
      ]
    }
    try StandardOutput.write(Array(Columns().text(rows).utf8))
  }

  /// Unmounts each of several, whatever becomes of the others. Throws the last failure; those before it are printed.
  static func unmount(_ arguments: [String]) throws(Failure) {
    var failure: Failure?
    for argument in arguments {
      do throws(Failure) {
        try unmount(argument)
      } catch {
        if let failure { printError(failure.message, command: "stmount") }
        failure = error
      }
    }
    if let failure { throw failure }
  }

  /// Unmounts, as umount(8) or fusermount3(1) would.
  private static func unmount(_ argument: String) throws(Failure) {
    guard !argument.isEmpty else { throw .usage("the mount point is empty", command: "stmount") }
    let path = FilePath(argument: argument)
    let name = path.printable
    do throws(Unmounting.Problem) {
      try Unmounting.unmount(path)
    } catch {
      switch error {
      case .notMounted:
        throw Failure(
          status: EX_NOINPUT, "\(name): nothing is mounted there; 'stmount --list' shows what is mounted")
      case .foreign(let type):
        throw Failure(
          status: EX_USAGE,
          "\(name): this is a mount of type \(type), not of stmount; unmount it with: umount \(name)")
      case .inUse:
        throw Failure(
          status: EX_TEMPFAIL,
          "\(name): it is in use: an open file, a mapping or a working directory holds it; find it with: fuser -vm \(name)"
        )
      case .covered(let inner):
        throw Failure(
          status: EX_TEMPFAIL,
          "\(name): something is mounted on \(inner.printable); unmount that first: umount \(inner.printable)"
        )
      case .notOwner(let user):
        throw Failure(
          status: EX_NOPERM, "\(name): user \(user) has mounted it; only that user and root may unmount it")
      case .failed(let problem): throw .system("\(name): cannot unmount it: \(problem)")
      }
    }
  }
}
