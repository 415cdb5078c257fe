internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// Detects whether an open file still has the contents that it had at opening.
///
/// A different size or modification time is a change. If only the change time differs, there may be a change or not, since
/// every act sets it: the reports of inotify(7) decide, and without them, whether stat(2) shows another act.
final class ChangeDetector: Sendable {
  private struct State {
    /// The final verdict on the file.
    var change: SourceFile.Change?
    /// The last status with the old contents.
    var seen: Sighting
    var watch: Watch?
  }

  private let file: FileDescriptor
  private let opened: Stat
  private let isRemote: Bool
  private let state: Mutex<State>

  /// Begins with the status that the file has.
  init(_ file: FileDescriptor, _ status: Stat, isRemote: Bool) {
    self.file = file
    self.isRemote = isRemote
    opened = status
    state = Mutex(State(seen: Sighting(of: file, status)))
  }

  /// Whether the contents are the old ones. Takes one fstat(2) if nothing has happened, or none of a status that is `known`.
  func check(_ known: Stat? = nil) -> SourceFile.Verdict {
    do throws(Errno) {
      // Not under the lock: fstat(2) may have to wait for a network.
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

  /// Makes the reports of `source` decide from now on, and returns the verdict until now.
  func begin(with source: SourceWatch, _ kind: FileSystemKind) throws(Errno) {
    let number = try source.add(file)
    let counts = source.counts(of: number)
    state.withLock { state in
      // Acts before the watch began.
      guard state.change == nil else { return }
      state.change = (try? look(&state, status()))?.change
      state.watch = Watch(
        source: source, number: number, needsEvent: kind.reports == .ownMount,
        looksAlways: kind.hasCoarseTimes, counts: counts)
      // And acts since then, even if stat(2) explains them.
      if state.change == nil, source.counts(of: number).modified != counts.modified {
        state.change = .contents
      }
    }
  }

  private func status() throws(Errno) -> Stat { try isRemote ? RemoteFiles.status(of: file) : Stat(file) }

  /// Decides by more than the status just read.
  private func look(_ state: inout State, _ last: Stat) throws(Errno) -> SourceFile.Verdict {
    var now = last
    // Before the status is read, since the status does not cover events lost later.
    let overflows = state.watch?.source.overflows
    if !now.hasTimes(of: state.seen.status) || overflows != state.watch?.counts.overflows {
      // Under the lock, since another thread may have seen a newer one.
      now = try status()
    }
    if isRemote, now.size < opened.size, now.st_mtim.isEqual(opened.st_mtim),
      now.st_ctim.isEqual(state.seen.status.st_ctim)
    {
      // FUSE takes a short answer for the file's end, and believes so until it asks for the size again.
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
    // A write can be reported only now, after its times were seen and restored.
    watch.looksAlways = true
    state.watch = watch
    return .unchanged
  }
}

/// The state of a file's inotify reports.
private struct Watch {
  let source: SourceWatch
  let number: Inotify.WatchNumber
  /// True if there are changes without events.
  let needsEvent: Bool
  /// True if the queue must be read even if the change time is the old one.
  var looksAlways: Bool
  /// The reports at the last status with the old contents.
  var counts: SourceWatch.Counts

  /// True if the queue must be read even if the file has its old times.
  var hasNews: Bool { looksAlways || source.overflows != counts.overflows }

  /// True if no write can have set the change time; `new` has no modification.
  func explainsChangeTime(_ new: SourceWatch.Counts) -> Bool {
    let hasAttributes = new.attributes != counts.attributes
    if needsEvent, !hasAttributes { return false }
    // Writes through a mapping and by io_submit(2) are not reported. But their writer closes a descriptor, and restoring the
    // modification time has the same event as chmod.
    return !(hasAttributes && new.closedByWriter != counts.closedByWriter)
  }
}

/// The attributes of a file at one moment.
private struct Sighting {
  let status: Stat
  /// Its current path, even after a move; nil if /proc is not mounted.
  let path: FilePath?

  init(of descriptor: FileDescriptor, _ status: Stat) {
    self.status = status
    path = descriptor.currentPath
  }

  /// True if something other than a write can have set the change time.
  func explainsChangeTime(since earlier: Sighting) -> Bool {
    status.linkCount != earlier.status.linkCount || status.mode != earlier.status.mode
      || status.userID != earlier.status.userID || status.groupID != earlier.status.groupID
      || path != earlier.path
  }
}

extension Stat {
  /// True if size, modification and change time are the same.
  fileprivate func hasTimes(of other: Stat) -> Bool {
    size == other.size && st_mtim.isEqual(other.st_mtim) && st_ctim.isEqual(other.st_ctim)
  }
}

extension timespec {
  /// True if both are the same moment.
  func isEqual(_ other: timespec) -> Bool {
    tv_sec == other.tv_sec && tv_nsec == other.tv_nsec
  }
}
