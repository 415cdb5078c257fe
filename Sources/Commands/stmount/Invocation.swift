import FUSE
import Glibc
import Linux
import Logging
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// What to mount, where and how: the common form of the command lines of stmount(1) and mount.stmount(8).
struct Invocation: Sendable {
  var sources: [FilePath]
  var mountPoint: FilePath
  /// The mount point's name in messages and in the log.
  let mountPointName: String
  var options = MountOptions()
  var isForeground = false
  /// How the sources are read.
  var opening = OpeningOptions()
  /// True if a dead mount of this program on the mount point is cleared first.
  var clearsDeadMount = false
  /// True if everything is checked and nothing mounted: `-f` of mount(8).
  var isFake = false
  var logLevel = Logger.Level.notice
  /// How long the mount may be idle before it is unmounted; nil for ever.
  var idleLimit: Duration?
  var ready: ReadyDescriptor?
  /// True if the command does not report the mount on a terminal.
  var isQuiet = false

  /// Sources and a mount point, with the options of each `-o`.
  init(_ paths: [String], mountOptions: [String], isSloppy: Bool = false) throws(Failure) {
    if let problem = Advice.subcommand(paths.first) { throw Self.usage(problem) }
    guard let mountPoint = paths.last, paths.count >= 2 else {
      throw Self.usage("give at least one source and the directory to mount it on")
    }
    // A script with an empty variable must not mount the working directory.
    guard !paths.contains("") else { throw Self.usage("a path is empty") }
    sources = paths.dropLast().map { FilePath(argument: $0) }
    self.mountPoint = FilePath(argument: mountPoint)
    mountPointName = Self.absolutePath(self.mountPoint).printable
    options.source = String(argumentBytes: Self.absolutePath(sources[0]).bytes)
    options.isSloppy = isSloppy
    for option in mountOptions.flatMap({ MountOptions.split($0) }) {
      do throws(MountOptions.Problem) {
        if try !take(option) { try options.add(option: option) }
      } catch {
        throw Self.usage(error.description + Advice.nearestMountOption(to: option))
      }
    }
  }

  /// The options that ``take(_:)`` takes.
  static let ownOptions: [(name: String, hasValue: Bool)] = [
    ("all", false), ("clear_dead", false), ("idle_timeout", true), ("lenient", false), ("log_level", true),
    ("revision", true), ("variant", true),
  ]

  /// Parses an option of this command that fstab(5) can only pass through -o. False for a mount option.
  private mutating func take(_ option: String) throws(MountOptions.Problem) -> Bool {
    switch MountOptions.parts(of: option) {
    case ("lenient", nil): opening.isLenient = true
    case ("all", nil): opening.showsAll = true
    case ("revision", let revision?): opening.revision = revision
    case ("variant", let variant?): opening.variant = variant
    case ("clear_dead", nil): clearsDeadMount = true
    case ("log_level", let name?):
      guard let level = Logger.Level(rawValue: name) else {
        throw MountOptions.Problem(description: "unknown log level '\(name)'")
      }
      logLevel = level
    case ("idle_timeout", let text?):
      guard let limit = IdleLimit.parse(text) else {
        throw MountOptions.Problem(description: "idle_timeout=\(text): \(IdleLimit.problem)")
      }
      idleLimit = limit
    default: return false
    }
    return true
  }

  /// The subtypes of this program's mounts: the usual one, and the requested one.
  var subtypes: Set<String> { ["stmount", options.subtype] }

  /// Opens the sources, and mounts them. Returns as ``Daemon/run()`` does.
  func run() throws(Failure) {
    let inherited = InheritedFiles()
    (isForeground ? LogDestination.standardError : .syslog).bootstrap(level: logLevel)
    LeastPrivilege.keepMounting()
    let manager = ServiceManager()
    do throws(Failure) {
      let collection = try openSources()
      let (dequantized, warnings) = collection.dequantized()
      for warning in warnings { warn(warning) }
      try Daemon(
        collection: collection, dequantized: dequantized, invocation: self, manager: manager,
        inherited: inherited
      ).run()
    } catch {
      manager.status(error.message)
      throw error
    }
  }

  private func openSources() throws(Failure) -> ModelCollection {
    do throws(ModelError) {
      let collection = try ModelCollection(opening: sources, opening)
      for warning in collection.warnings {
        warn(warning)
      }
      warnOfModes(collection)
      return collection
    } catch {
      if error.kind == .noSource { try explainMissingModel() }
      throw Failure(error)
    }
  }

  private func warn(_ warning: String) {
    printError("warning: \(warning)", command: "stmount", priority: LOG_WARNING)
  }

  /// Throws if the sources could not be opened because the mount point came first, as in other commands, or because a source is
  /// itself a mount.
  private func explainMissingModel() throws(Failure) {
    guard let entries = try? sources[0].entries() else { return }
    let isMount = (try? TensorDirectory.found(at: sources[0])) != nil
    guard entries.isEmpty || isMount else { return }
    let kind = isMount ? "a mount, or a copy of one" : "an empty directory"
    // Look at the mount point last: a mount there may not answer.
    if let target = try? Stat(mountPoint),
      target.type == .regular || (try? ModelCollection(opening: [mountPoint], opening)) != nil
    {
      throw Self.usage(
        "\(sources[0].printable) is \(kind), and \(mountPoint.printable) a model: the mount point comes last")
    }
    if isMount {
      throw Self.usage(
        "\(sources[0].printable) is \(kind): mount the model itself; 'stpack' makes a model of a copy")
    }
  }

  /// With allow_other, other users can access a mount, but not files of sources that they cannot read.
  /// safetensors 0.8 writes files with mode 0600.
  private func warnOfModes(_ collection: ModelCollection) {
    guard options.allowOther, options.umask == nil else { return }
    let files = collection.components.flatMap(\.model.storedShards).map(\.file)
    let closed = files.filter { !$0.status.permissions.contains(.otherRead) }
    guard let first = closed.first else { return }
    let others = closed.count == 1 ? "" : " and \(PrintableText.counted(closed.count - 1, "more file"))"
    warn(
      "other users cannot use the mount despite allow_other, since only its owner may read \(first.path.printable)\(others): "
        + "'chmod o+r' the source, or give -o umask=022")
  }

  private static func usage(_ problem: String) -> Failure { .usage(problem, command: "stmount") }

  /// The absolute path, so that findmnt(8) shows the source whatever the working directory was. Symbolic
  /// links stay: they have the model's name, and their target may have only a hash.
  private static func absolutePath(_ path: FilePath) -> FilePath {
    guard path.isRelative else { return path }
    guard let directory = unsafe getcwd(nil, 0) else { return path }
    defer { unsafe free(directory) }
    return unsafe FilePath(platformString: directory).pushing(path).lexicallyNormalized()
  }
}
