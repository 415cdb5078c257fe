import ArgumentParser
import FUSE
import Glibc
import Linux
import Logging
import Models
import SystemPackage
import TensorFiles

/// The command line of stmount(1).
struct Stmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stmount",
    abstract: "Mount a safetensors model as a directory: one file per tensor.",
    usage: "stmount [OPTIONS] SOURCE... MOUNTPOINT\nstmount --doctor",
    discussion: """
      SOURCE is a .safetensors file or one of PyTorch, several of them, an index of shards \
      (model.safetensors.index.json), or a directory with one of those. The path below MOUNTPOINT is the tensor's \
      name, and the bytes of the file are the tensor's bytes; metadata.json says the rest. Unmount with \
      'umount MOUNTPOINT'.
      """,
    version: "stmount \(stmountVersion) (libfuse \(Session.libraryVersion))")

  @Argument(
    help: ArgumentHelp("What to mount, then where.", valueName: "SOURCE... MOUNTPOINT"), completion: .file())
  var paths: [String] = []

  @Flag(name: .shortAndLong, help: "Stay in the foreground, and log to standard error.")
  var foreground = false

  @Option(
    name: .customShort("o", allowingJoined: true),
    help: ArgumentHelp(
      "Mount options, separated by commas: allow_other, allow_root, uid=, gid=, umask=, fsname=, subtype=, and what "
        + "fstab passes.", valueName: "OPTIONS"))
  var mountOptions: [String] = []

  @OptionGroup var opening: OpeningArguments

  @Option(
    help: ArgumentHelp("Unmount when nobody has used the mount for that long.", valueName: "SECONDS"),
    transform: { text in
      guard let limit = Duration(idleSeconds: text) else {
        throw ValidationError("'\(text)' is not a number of seconds")
      }
      return limit
    })
  var idleTimeout: Duration?

  @Option(
    help: ArgumentHelp("Write a newline to this file descriptor when the mount answers.", valueName: "N"))
  var readyFd: ReadyDescriptor?

  @Flag(help: "If a mount whose daemon is gone is left on MOUNTPOINT, clear it first.")
  var clearDead = false

  @Flag(name: .shortAndLong, help: "Log more; the same as --log-level info.")
  var verbose = false

  @Option(
    help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "LEVEL"),
    completion: .list(Logger.Level.allCases.map(\.rawValue)),
    transform: { name in
      guard let level = Logger.Level(rawValue: name) else {
        throw ValidationError("unknown log level '\(name)'")
      }
      return level
    })
  var logLevel: Logger.Level?

  @Flag(help: "Check whether this machine can mount, and how well; mount nothing that stays.")
  var doctor = false

  static func main() {
    Signals.letQuit()
    run(arguments) { command throws(Failure) in try command.mount() }
  }

  /// The command line with `-oLIST` as `-o LIST`: the parser does not take the joined form where LIST holds `=`.
  static var arguments: [String] {
    let all = Arguments.all.dropFirst()
    let options = all.prefix { $0 != "--" }
    return options.flatMap { $0.hasPrefix("-o") && $0.count > 2 ? ["-o", String($0.dropFirst(2))] : [$0] }
      + all.dropFirst(options.count)
  }

  /// Mounts, or examines the machine.
  private func mount() throws(Failure) {
    if doctor { Glibc.exit(Doctor().examine() ? EX_OK : EX_UNAVAILABLE) }
    var invocation = try Invocation(paths, mountOptions: mountOptions)
    invocation.isForeground = foreground
    invocation.opening.add(opening)
    if clearDead { invocation.clearsDeadMount = true }
    if verbose { invocation.logLevel = .info }
    if let logLevel { invocation.logLevel = logLevel }
    if let idleTimeout { invocation.idleLimit = idleTimeout }
    invocation.ready = readyFd
    try invocation.run()
  }
}
