import ArgumentParser
import FUSE
import Glibc
import Linux
import Logging
import Models
import SystemPackage
import TensorFiles

/// The levels of the log in messages.
private let logLevels = "trace, debug, info, notice, warning, error or critical"

/// The command line of stmount(1).
struct Stmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stmount",
    abstract: "Mount a safetensors model as a directory: one file per tensor.",
    usage:
      "stmount [OPTIONS] SOURCE... MOUNTPOINT\nstmount --list\nstmount -u MOUNTPOINT...\nstmount --doctor",
    discussion: """
      SOURCE is a .safetensors file or a PyTorch checkpoint, several of them, an index of shards \
      (model.safetensors.index.json), or a directory with one of those. The path below MOUNTPOINT is the tensor's \
      name, and the bytes of the file are the tensor's bytes; metadata.json describes them. Unmount with \
      'stmount -u MOUNTPOINT' or 'umount MOUNTPOINT'.

      Hidden views, which ls does not list: .npy/ (NumPy files), .f32/ (float32), .safetensors/ (one model per \
      tensor), .model.safetensors (the whole model as one file), and .dequant/ (a quantised model in float32). \
      Each tensor has extended attributes: getfattr -d FILE shows name, dtype, shape, source and offset.
      """,
    version: "stmount \(stmountVersion) (libfuse \(Session.libraryVersion))")

  @Argument(
    help: ArgumentHelp("The model, then the directory to mount it on.", valueName: "SOURCE... MOUNTPOINT"),
    completion: .file())
  var paths: [String] = []

  @Flag(name: .shortAndLong, help: "Stay in the foreground, and log to standard error.")
  var foreground = false

  @Option(
    name: .customShort("o", allowingJoined: true),
    help: ArgumentHelp(
      "Mount options, separated by commas: allow_other, allow_root, uid=, gid=, umask=, fsname=, subtype=, "
        + "direct_io, io=auto|mmap|copy, and others of stmount(1).", valueName: "OPTIONS"),
    completion: .custom { _, _, prefix in Advice.completions(of: prefix) })
  var mountOptions: [String] = []

  @OptionGroup var opening: OpeningArguments

  @Option(
    help: ArgumentHelp("Unmount after this time without use: 600, 10m, 2h.", valueName: "TIME"),
    transform: { text in
      guard let limit = IdleLimit.parse(text) else {
        throw ValidationError(IdleLimit.problem)
      }
      return limit
    })
  var idleTimeout: Duration?

  @Option(
    help: ArgumentHelp("Write a newline to this file descriptor when the mount answers.", valueName: "N"))
  var readyFd: ReadyDescriptor?

  @Flag(help: "If MOUNTPOINT holds a mount whose daemon is gone, clear it first.")
  var clearDead = false

  @Flag(name: .shortAndLong, help: "Log more; the same as --log-level info.")
  var verbose = false

  @Flag(name: .shortAndLong, help: "Do not print the line that reports the mount on a terminal.")
  var quiet = false

  @Option(
    help: ArgumentHelp(
      "Log messages of this level and above: \(logLevels).", valueName: "LEVEL"),
    completion: .list(Logger.Level.allCases.map(\.rawValue)),
    transform: { name in
      guard let level = Logger.Level(rawValue: name) else {
        throw ValidationError("expected \(logLevels)")
      }
      return level
    })
  var logLevel: Logger.Level?

  @Flag(help: "List the mounts of stmount: source, mount point, process ID of the daemon, state.")
  var list = false

  @Option(
    name: [.customShort("u"), .customLong("unmount")],
    help: ArgumentHelp("Unmount MOUNTPOINT, unless it is in use.", valueName: "MOUNTPOINT"),
    completion: .directory)
  var unmounted: String?

  @Flag(help: "Check whether this machine can mount, and how fast; makes a trial mount.")
  var doctor = false

  static func main() {
    Signals.letQuit()
    let arguments = arguments
    if let problem = Advice.mountOption(arguments) {
      Failure.usage(problem, command: "stmount").end("stmount")
    }
    run(arguments) { command throws(Failure) in try command.mount() }
  }

  /// The command line with `-oLIST` as `-o LIST`, since the parser does not take the joined form where LIST holds `=`, and with
  /// `-V`, which is fusermount3's and sshfs's option, as `--version`.
  static var arguments: [String] {
    let all = CalledCommand.arguments
    let options = all.prefix { $0 != "--" }
    return options.flatMap { option in
      if option == "-V" { return ["--version"] }
      return option.hasPrefix("-o") && option.count > 2 ? ["-o", String(option.dropFirst(2))] : [option]
    } + all.dropFirst(options.count)
  }

  /// Mounts, or examines the machine.
  private func mount() throws(Failure) {
    let modes = [list, unmounted != nil, doctor].count { $0 }
    guard modes <= 1 else {
      throw .usage("give one of --list, --unmount and --doctor at a time", command: "stmount")
    }
    if let unmounted {
      return try MountListing.unmount([unmounted] + paths)
    }
    guard modes == 0 || paths.isEmpty else {
      throw .usage("--list and --doctor take no paths", command: "stmount")
    }
    if list { return try MountListing.print() }
    if doctor {
      let canMount = Doctor().examine()
      try StandardOutput.flush()
      Glibc.exit(canMount ? EX_OK : EX_UNAVAILABLE)
    }
    var invocation = try Invocation(paths, mountOptions: mountOptions)
    invocation.isForeground = foreground
    invocation.opening.add(opening)
    if clearDead { invocation.clearsDeadMount = true }
    if verbose { invocation.logLevel = .info }
    invocation.isQuiet = quiet
    if let logLevel { invocation.logLevel = logLevel }
    if let idleTimeout { invocation.idleLimit = idleTimeout }
    invocation.ready = readyFd
    try invocation.run()
  }
}
