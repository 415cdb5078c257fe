internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// Tells whether an open file still has the contents that it was opened with.
///
/// A size or modification time that differs is a change. A change time that differs alone is one or is not, since
/// everything sets it: what inotify(7) has reported meanwhile decides, and without that what stat(2) explains.
final class ChangeDetector: Sendable {
  private struct State {
    /// What the file was found to be, for good.
    var change: SourceFile.Change?
    /// What was last seen of the file while its contents were the old ones.
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

  /// Whether the contents are the old ones: one fstat(2) where nothing has happened.
  func check() -> SourceFile.Verdict {
    do throws(Errno) {
      // Not under the lock: it may have to wait for a network.
      let now = try Stat(file)
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

  /// Has the reports of `source` decide from now on, and tells what has happened until now.
  func begin(with source: SourceWatch, _ kind: FileSystemKind) throws(Errno) {
    let number = try source.add(file)
    let counts = source.counts(of: number)
    state.withLock { state in
      // Whatever was done before the watch began.
      guard state.change == nil else { return }
      state.change = (try? look(&state, Stat(file)))?.change
      state.watch = Watch(
        source: source, number: number, needsEvent: kind.reports == .ownMount,
        looksAlways: kind.hasCoarseTimes, counts: counts)
      // And what was done since then, though stat(2) may have explained it.
      if state.change == nil, source.counts(of: number).modified != counts.modified {
        state.change = .contents
      }
    }
  }

  /// Decides by more than the status that was just read.
  private func look(_ state: inout State, _ last: Stat) throws(Errno) -> SourceFile.Verdict {
    var now = last
    // Before the status is read, which does not cover what is lost later.
    let overflows = state.watch?.source.overflows
    if !now.hasTimes(of: state.seen.status) || overflows != state.watch?.counts.overflows {
      // Under the lock, since another thread may have seen a newer one.
      now = try Stat(file)
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
    // A write may be reported only now of which the times have been seen, and set back, before.
    watch.looksAlways = true
    state.watch = watch
    return .unchanged
  }
}

/// What is known of a file by inotify.
private struct Watch {
  let source: SourceWatch
  let number: Inotify.WatchNumber
  /// True if there are changes without events.
  let needsEvent: Bool
  /// True if events have to be looked for though the change time is the old one.
  var looksAlways: Bool
  /// What had been reported when the file was last seen with its old contents.
  var counts: SourceWatch.Counts

  /// True if the queue has to be looked at though the file has its old times.
  var hasNews: Bool { looksAlways || source.overflows != counts.overflows }

  /// True if no write can have set the change time; `new` has no modification.
  func explainsChangeTime(_ new: SourceWatch.Counts) -> Bool {
    let hasAttributes = new.attributes != counts.attributes
    if needsEvent, !hasAttributes { return false }
    // Writes through a mapping and by io_submit(2) are not reported. Who makes them closes a descriptor; and the event of
    // setting the modification time back looks like that of chmod.
    return !(hasAttributes && new.closedByWriter != counts.closedByWriter)
  }
}

/// What can be seen of a file besides its contents, at one moment.
private struct Sighting {
  let status: Stat
  /// The path it has now, wherever it was moved; nil if /proc is not mounted.
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
