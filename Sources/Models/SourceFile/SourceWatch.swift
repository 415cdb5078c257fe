internal import Linux
internal import Synchronization
package import SystemPackage

/// The kernel's reports about the sources of a process: one inotify(7) instance for all of them.
package final class SourceWatch: Sendable {
  /// The numbers of reports about a file, up to some moment.
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
  /// The same for all files, readable without a lock.
  private let overflowCount = Atomic<Int>(0)

  /// Watches no file yet. Throws EMFILE if the user has no inotify instance left.
  package init() throws(Errno) { inotify = try Inotify() }

  /// Watches a file's inode. Throws ENOSPC if the user has no watch left.
  func add(_ file: FileDescriptor) throws(Errno) -> Inotify.WatchNumber {
    try inotify.watch(file, for: [.modified, .attributes, .moved, .closedByWriter])
  }

  /// The number of times that events were lost, as far as the queue was read.
  var overflows: Int { overflowCount.load(ordering: .sequentiallyConsistent) }

  /// The reports about a file until now. Takes one read(2) if there are no new ones.
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
