internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// Detects whether an open file still has the contents that it had when it was opened.
///
/// A different size or modification time is a change. A different change time alone is not enough, since
/// chmod(2) and the like set it too. Then inotify(7) decides; without it, whether stat(2) shows another
/// reason.
final class ChangeDetector: Sendable {
  private struct State {
    /// The final verdict, once there is one.
    var change: SourceFile.Change?
    /// The last attributes that were seen with the old contents.
    var seen: Sighting
    var watch: Watch?
  }

  private let file: FileDescriptor
  private let opened: Stat
  private let isRemote: Bool
  private let state: Mutex<State>

  /// Starts from the file's attributes at opening.
  init(_ file: FileDescriptor, _ status: Stat, isRemote: Bool) {
    self.file = file
    self.isRemote = isRemote
    opened = status
    state = Mutex(State(seen: Sighting(of: file, status)))
  }

  /// Whether the file has its old contents. Takes one fstat(2) if nothing happened, or none if `known` has
  /// the attributes.
  func check(_ known: Stat? = nil) -> SourceFile.Verdict {
    do throws(Errno) {
      // Not under the lock, since fstat(2) may wait for a network.
      let now = if let known { known } else { try status() }
      return try state.withLock { state throws(Errno) in
        if let change = state.change { return .changed(change) }
        if now.hasTimes(of: state.seen.status), state.watch?.hasNews != true { return .unchanged }
        let verdict = try look(&state, now)
        state.change = verdict.change
        return verdict
      }
    } catch {
      return .unknown(error)
    }
  }

  /// From now on, lets the reports of `source` decide. Also checks for changes until now.
  func begin(with source: SourceWatch, _ kind: FileSystemKind) throws(Errno) {
    let number = try source.add(file)
    let counts = source.counts(of: number)
    state.withLock { state in
      // Changes before the watch began.
      guard state.change == nil else { return }
      state.change = (try? look(&state, status()))?.change
      state.watch = Watch(
        source: source, number: number, needsEvent: kind.reports == .ownMount,
        looksAlways: kind.hasCoarseTimes, counts: counts)
      // Changes since then, even if stat(2) would explain the change time.
      if state.change == nil, source.counts(of: number).modified != counts.modified {
        state.change = .contents
      }
    }
  }

  private func status() throws(Errno) -> Stat { try isRemote ? RemoteFiles.status(of: file) : Stat(file) }

  /// Decides from the attributes, the watch and the path.
  private func look(_ state: inout State, _ last: Stat) throws(Errno) -> SourceFile.Verdict {
    var now = last
    // Read this before the attributes: they do not cover events that are lost later.
    let overflows = state.watch?.source.overflows
    if !now.hasTimes(of: state.seen.status) || overflows != state.watch?.counts.overflows {
      // Under the lock, since another thread may have seen newer attributes.
      now = try status()
    }
    if isRemote, now.size < opened.size, now.st_mtim.isEqual(opened.st_mtim),
      now.st_ctim.isEqual(state.seen.status.st_ctim)
    {
      // FUSE takes a short reply for the end of the file, and keeps that size until it asks again.
      return .unknown(.ioError)
    }
    guard now.size == opened.size, now.st_mtim.isEqual(opened.st_mtim) else { return .changed(.contents) }
    let isOld = now.hasTimes(of: state.seen.status)
    guard var watch = state.watch else {
      if isOld { return .unchanged }
      let sighting = Sighting(of: file, now)
      guard sighting.explainsChangeTime(since: state.seen) else { return .changed(.contents) }
      state.seen = sighting
      return .unchanged
    }
    let counts = watch.source.counts(of: watch.number)
    if counts.modified != watch.counts.modified { return .changed(.contents) }
    if isOld {
      state.watch?.counts.overflows = overflows ?? 0
      return .unchanged
    }
    if counts.overflows != watch.counts.overflows { return .changed(.unknown) }
    let sighting = Sighting(of: file, now)
    guard watch.explainsChangeTime(counts) || sighting.explainsChangeTime(since: state.seen) else {
      return .changed(.contents)
    }
    state.seen = sighting
    watch.counts = counts
    // A write may be reported late, after its times were seen and restored.
    watch.looksAlways = true
    state.watch = watch
    return .unchanged
  }
}

/// The state of a file's inotify watch.
private struct Watch {
  let source: SourceWatch
  let number: Inotify.WatchNumber
  /// True if some changes cause no event.
  let needsEvent: Bool
  /// True if each check must read the queue, even if the change time is the old one.
  var looksAlways: Bool
  /// The event counts when the old contents were last seen.
  var counts: SourceWatch.Counts

  /// True if the queue must be read even if the file's times are the old ones.
  var hasNews: Bool { looksAlways || source.overflows != counts.overflows }

  /// True if something other than a write set the change time. `new` reports no modification.
  func explainsChangeTime(_ new: SourceWatch.Counts) -> Bool {
    let hasAttributes = new.attributes != counts.attributes
    if needsEvent, !hasAttributes { return false }
    // inotify does not report writes through a mapping or by io_submit(2). But their writer closes a
    // descriptor, and restoring the modification time causes the same event as chmod.
    return !(hasAttributes && new.closedByWriter != counts.closedByWriter)
  }
}

/// A file's attributes and path at one moment.
private struct Sighting {
  let status: Stat
  /// The current path, even after a move; nil if /proc is not mounted.
  let path: FilePath?

  init(of descriptor: FileDescriptor, _ status: Stat) {
    self.status = status
    path = descriptor.currentPath
  }

  /// True if something other than a write set the change time.
  func explainsChangeTime(since earlier: Sighting) -> Bool {
    status.linkCount != earlier.status.linkCount || status.mode != earlier.status.mode
      || status.userID != earlier.status.userID || status.groupID != earlier.status.groupID
      || path != earlier.path
  }
}

extension Stat {
  fileprivate func hasTimes(of other: Stat) -> Bool {
    size == other.size && st_mtim.isEqual(other.st_mtim) && st_ctim.isEqual(other.st_ctim)
  }
}

extension timespec {
  func isEqual(_ other: timespec) -> Bool {
    tv_sec == other.tv_sec && tv_nsec == other.tv_nsec
  }
}
