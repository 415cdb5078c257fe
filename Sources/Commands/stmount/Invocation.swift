import FUSE
import Glibc
import Linux
import Logging
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// What is to be mounted, where and how: what the two command lines, stmount(1)'s and mount.stmount(8)'s, come down to.
struct Invocation: Sendable {
  var sources: [FilePath]
  var mountPoint: FilePath
  /// The mount point as messages and the log name it.
  let mountPointName: String
  var options = MountOptions()
  var isForeground = false
  var isLenient = false
  /// A mount of this program's on the mount point whose daemon is gone is cleared first.
  var clearsDeadMount = false
  /// Everything is checked, and nothing mounted.
  var isFake = false
  var logLevel = Logger.Level.notice
  /// How long nobody may have used the mount before it goes; nil for ever.
  var idleLimit: Duration?
  var ready: ReadyDescriptor?

  /// Sources and a mount point, with the options of each `-o`.
  init(_ paths: [String], mountOptions: [String], isSloppy: Bool = false) throws(Failure) {
    guard let mountPoint = paths.last, paths.count >= 2 else {
      throw Self.usage("give at least one source and the directory to mount it on")
    }
    // A script with an empty variable should not mount the working directory.
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
        throw Self.usage(error.description)
      }
    }
  }

  /// Takes an option that is not the mount's but this command's, as fstab(5) has no other place for it.
  private mutating func take(_ option: String) throws(MountOptions.Problem) -> Bool {
    let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    switch (parts[0], parts.count > 1 ? parts[1] : nil) {
    case ("lenient", nil): isLenient = true
    case ("clear_dead", nil): clearsDeadMount = true
    case ("log_level", let name?):
      guard let level = Logger.Level(rawValue: name) else {
        throw MountOptions.Problem(description: "there is no log level '\(name)'")
      }
      logLevel = level
    case ("idle_timeout", let text?):
      guard let limit = Duration(idleSeconds: text) else {
        throw MountOptions.Problem(description: "idle_timeout=\(text) is not a number of seconds")
      }
      idleLimit = limit
    default: return false
    }
    return true
  }

  /// Opens the sources, and mounts them. Returns as ``Daemon/run()`` does.
  func run() throws(Failure) {
    (isForeground ? LogDestination.standardError : .syslog).bootstrap(level: logLevel)
    LeastPrivilege.keepMounting()
    let manager = ServiceManager()
    do throws(Failure) {
      try Daemon(collection: openSources(), invocation: self, manager: manager).run()
    } catch {
      manager.status(error.message)
      throw error
    }
  }

  private func openSources() throws(Failure) -> ModelCollection {
    do throws(ModelError) {
      let collection = try ModelCollection(opening: sources, lenient: isLenient)
      for warning in collection.warnings {
        printError("warning: \(warning)", command: "stmount", priority: LOG_WARNING)
      }
      return collection
    } catch {
      throw Failure(error)
    }
  }

  private static func usage(_ problem: String) -> Failure { .usage(problem, command: "stmount") }

  /// The path from the root, so that findmnt(8) tells the story whatever the working directory was. Symbolic
  /// links stay: they bear the model's name where their target has only a hash.
  private static func absolutePath(_ path: FilePath) -> FilePath {
    guard path.isRelative else { return path }
    guard let directory = unsafe getcwd(nil, 0) else { return path }
    defer { unsafe free(directory) }
    return unsafe FilePath(platformString: directory).pushing(path).lexicallyNormalized()
  }
}

extension Duration {
  /// A positive number of seconds, with or without a fraction; nil for anything else, and for more than ten years.
  init?(idleSeconds text: String) {
    let limit = 315_360_000.0
    guard let seconds = Double(text), seconds > 0, seconds <= limit else { return nil }
    self = .seconds(seconds)
  }
}
