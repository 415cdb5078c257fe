internal import Linux
internal import Synchronization
package import SystemPackage

/// What the kernel reports of the sources of a process: one instance of inotify(7) for all of them.
package final class SourceWatch: Sendable {
  /// How often each thing has been reported of a file, up to some moment.
  struct Counts: Equatable {
    /// The contents or the size were set.
    var modified = 0
    /// Permissions, owner, links, times or extended attributes were set, or the file was renamed.
    var attributes = 0
    /// A descriptor that could write was closed.
    var closedByWriter = 0
    /// Events of any file were lost.
    var overflows = 0
  }

  private let inotify: Inotify
  private let counts = Mutex<[Inotify.WatchNumber: Counts]>([:])
  /// The same of all files, to be read without a lock.
  private let overflowCount = Atomic<Int>(0)

  /// Watches nothing yet. Throws EMFILE where the user has no instance of inotify left.
  package init() throws(Errno) { inotify = try Inotify() }

  /// Watches a file's inode. Throws ENOSPC where the user has no watch left.
  func add(_ file: FileDescriptor) throws(Errno) -> Inotify.WatchNumber {
    try inotify.watch(file, for: [.modified, .attributes, .moved, .closedByWriter])
  }

  /// How often events were lost that have been looked for.
  var overflows: Int { overflowCount.load(ordering: .sequentiallyConsistent) }

  /// What has been reported of a file until now. One read(2) where nothing has.
  func counts(of number: Inotify.WatchNumber) -> Counts {
    counts.withLock { counts in
      inotify.drain { number, events in
        if events.contains(.overflow) { overflowCount.add(1, ordering: .sequentiallyConsistent) }
        counts[number, default: Counts()].add(events)
      }
      var own = counts[number, default: Counts()]
      own.overflows = overflows
      return own
    }
  }
}

extension SourceWatch.Counts {
  fileprivate mutating func add(_ events: Inotify.Events) {
    if events.contains(.modified) { modified &+= 1 }
    if !events.isDisjoint(with: [.attributes, .moved]) { attributes &+= 1 }
    if events.contains(.closedByWriter) { closedByWriter &+= 1 }
  }
}
