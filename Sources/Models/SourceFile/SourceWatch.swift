internal import Linux
internal import Synchronization
package import SystemPackage

/// Watches source files with one inotify(7) instance for the process.
package final class SourceWatch: Sendable {
  /// The numbers of events of a file so far.
  struct Counts: Equatable {
    /// Contents or size were modified.
    var modified = 0
    /// Permissions, owner, links, times or extended attributes changed, or the file was renamed.
    var attributes = 0
    /// A writable descriptor was closed.
    var closedByWriter = 0
    /// The queue overflowed, which loses events of any file.
    var overflows = 0
  }

  private let inotify: Inotify
  private let counts = Mutex<[Inotify.WatchNumber: Counts]>([:])
  /// The number of overflows, readable without a lock.
  private let overflowCount = Atomic<Int>(0)

  /// Starts without watches. Throws EMFILE if the user has no inotify instance left.
  package init() throws(Errno) { inotify = try Inotify() }

  /// Watches a file's inode. Throws ENOSPC if the user has no watch left.
  func add(_ file: FileDescriptor) throws(Errno) -> Inotify.WatchNumber {
    try inotify.watch(file, for: [.modified, .attributes, .moved, .closedByWriter])
  }

  /// The number of overflows seen so far.
  var overflows: Int { overflowCount.load(ordering: .sequentiallyConsistent) }

  /// The numbers of a file's events so far. Takes one read(2) if there are no new ones.
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
