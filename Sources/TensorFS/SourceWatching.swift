internal import Logging
internal import Models
internal import SystemPackage

extension SourceWatch {
  /// Watches the shards' files while they are open. If a file cannot be watched, logs once which rule applies
  /// instead.
  static func begin(_ shards: [Shard], log: Logger) {
    var problem: Errno?
    var unwatched: [Shard] = []
    var unreported: [Shard] = []
    do throws(Errno) {
      let watch = try SourceWatch()
      for shard in shards {
        do throws(Errno) {
          if try !shard.file.watch(by: watch) { unreported.append(shard) }
        } catch {
          problem = error
          unwatched.append(shard)
        }
      }
    } catch {
      problem = error
      unwatched = shards
    }
    if let problem, let first = unwatched.first {
      log.warning(
        """
        cannot watch \(first.file.path.printable)\(Self.others(unwatched)) for changes: \(problem.inotifyClause). \
        \(Self.otherRule)
        """)
    }
    if let first = unreported.first {
      log.notice(
        """
        the file system of \(first.file.path.printable)\(Self.others(unreported)) does not report all writes \
        (inotify). \(Self.otherRule)
        """)
    }
  }

  private static let otherRule =
    "If only a file's ctime changes, stmount treats it as changed, unless mode, owner, link count or path changed too"

  private static func others(_ shards: [Shard]) -> String {
    shards.count > 1 ? " and \(shards.count - 1) more" : ""
  }
}

extension Errno {
  /// Why inotify(7) is unavailable, and what to do.
  fileprivate var inotifyClause: String {
    switch self {
    case .tooManyOpenFiles: "this user has no inotify instance left; raise fs.inotify.max_user_instances"
    case .noSpace: "this user has no inotify watch left; raise fs.inotify.max_user_watches"
    default: "inotify: \(self)"
    }
  }
}
