import ArgumentParser
import Command
import FUSE
import Glibc
import Logging
import Safetensors
import SystemPackage
import TensorFS

/// The command line of stmount(1).
@main struct Stmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stmount",
    abstract: "Mount a safetensors model as a directory: one file per tensor.",
    usage: "stmount [OPTIONS] SOURCE... MOUNTPOINT",
    discussion: """
      SOURCE is a .safetensors file, several of them, an index of shards (model.safetensors.index.json), or a \
      directory with one of those. The path below MOUNTPOINT is the tensor's name, and the bytes of the file are \
      the tensor's bytes; metadata.json says the rest. Unmount with 'umount MOUNTPOINT'.
      """,
    version: "stmount \(stmountVersion) (libfuse \(Session.libraryVersion))")

  @Argument(help: ArgumentHelp("What to mount, then where.", valueName: "SOURCE... MOUNTPOINT"))
  var paths: [String] = []

  @Flag(name: .shortAndLong, help: "Stay in the foreground, and log to standard error.")
  var foreground = false

  @Option(
    name: .customShort("o", allowingJoined: true),
    help: ArgumentHelp(
      "Mount options, separated by commas: allow_other, allow_root, uid=, gid=, umask=, fsname=, subtype=, and what "
        + "fstab passes.", valueName: "OPTIONS"))
  var mountOptions: [String] = []

  @Flag(help: "Accept bytes after a file's last tensor, with a warning.")
  var lenient = false

  @Flag(name: .shortAndLong, help: "Log what is mounted; the same as --log-level info.")
  var verbose = false

  @Option(
    help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "LEVEL"),
    transform: { name in
      guard let level = Logger.Level(rawValue: name) else {
        throw ValidationError("there is no log level '\(name)'")
      }
      return level
    })
  var logLevel: Logger.Level?

  /// Parses, runs and exits; every failure is one line on standard error.
  static func main() {
    StandardStreams.openClosed()
    do {
      let command = try parse(arguments)
      try command.mount()
    } catch let failure as Failure {
      fail(failure)
    } catch {
      // --help and --version come this way too, and have more than a line to say.
      guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
      fail(.usage(message(for: error), command: "stmount"))
    }
  }

  private static func fail(_ failure: Failure) -> Never {
    printError(failure.message, command: "stmount")
    Glibc.exit(failure.status)
  }

  /// The command line with `-oLIST` as `-o LIST`: the parser does not take the joined form where LIST holds `=`.
  private static var arguments: [String] {
    let all = CommandLine.arguments.dropFirst()
    let options = all.prefix { $0 != "--" }
    return options.flatMap { $0.hasPrefix("-o") && $0.count > 2 ? ["-o", String($0.dropFirst(2))] : [$0] }
      + all.dropFirst(options.count)
  }

  private func mount() throws(Failure) {
    guard let mountPoint = paths.last, paths.count >= 2 else {
      throw usage("give at least one source and the directory to mount it on")
    }
    // A script with an empty variable should not mount the working directory.
    guard !paths.contains("") else { throw usage("a path is empty") }
    let sources = paths.dropLast().map { FilePath($0) }
    var options = MountOptions()
    options.source = absolutePath(sources[0])
    for list in mountOptions {
      do throws(MountOptions.Problem) {
        try options.add(list)
      } catch {
        throw usage(error.description)
      }
    }
    let destination = foreground ? LogDestination.standardError : .syslog
    destination.bootstrap(level: logLevel ?? (verbose ? .info : .notice))

    let collection: ModelCollection
    do throws(ModelError) {
      collection = try ModelCollection(opening: sources, lenient: lenient)
    } catch {
      throw Failure(error)
    }
    for warning in collection.warnings { printError("warning: \(warning)", command: "stmount") }
    let daemon = Daemon(
      collection: collection, mountPoint: FilePath(mountPoint), options: options,
      isForeground: foreground)
    try daemon.run()
  }

  private func usage(_ problem: String) -> Failure { .usage(problem, command: "stmount") }

  /// The path from the root, so that findmnt(8) tells the story whatever the working directory was. Symbolic
  /// links stay: they bear the model's name where their target has only a hash.
  private func absolutePath(_ path: FilePath) -> String {
    guard path.isRelative else { return path.string }
    guard let directory = unsafe getcwd(nil, 0) else { return path.string }
    defer { unsafe free(directory) }
    return unsafe FilePath(platformString: directory).pushing(path).lexicallyNormalized().string
  }
}
