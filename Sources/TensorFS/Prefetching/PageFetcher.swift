internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// Brings bytes of files into memory, on a thread of its own that is there as long as there is something to do.
///
/// It reads them as anybody would, and throws them away uncopied: sendfile(2) to /dev/null. So the kernel's own read-ahead
/// is at work, with large folios and as many requests as the disk takes. A worker that came to the end of what
/// has been read ahead would have to set up megabytes of pages, while its reader waits; and announcing
/// (POSIX_FADV_WILLNEED) makes single pages.
final class PageFetcher: Sendable {
  /// How many ranges may wait. Readers who are faster than that do without.
  private static let mostWaiting = 64
  /// Of the thread, in bytes.
  private static let stackSize = 256 << 10

  private struct State {
    var waiting: [(range: Range<UInt64>, file: FileDescriptor)] = []
    var isRunning = false
  }
  private let state = Mutex(State())

  /// /dev/null, from before the workers may open nothing any more; nil where there is none.
  private let nothing = try? FileDescriptor.open(FilePath("/dev/null"), .writeOnly, options: .closeOnExec)

  deinit { try? nothing?.close() }

  /// Sees to it that bytes `range` of a file are read some time soon. The descriptor may be closed meanwhile.
  func fetch(_ range: Range<UInt64>, of file: FileDescriptor) {
    guard let nothing else { return }
    let copy = fcntl(file.rawValue, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { return }
    let own = FileDescriptor(rawValue: copy)
    let (isTaken, starts) = state.withLock { state in
      guard state.waiting.count < Self.mostWaiting else { return (false, false) }
      state.waiting.append((range, own))
      defer { state.isRunning = true }
      return (true, !state.isRunning)
    }
    if !isTaken { try? own.close() }
    guard starts else { return }
    let thread = WorkerThread(stackSize: Self.stackSize) { [self] in run(into: nothing) }
    if let thread { thread.detach() } else { giveUp() }
  }

  /// The thread.
  private func run(into nothing: FileDescriptor) {
    while let (range, file) = next() {
      Self.read(range, of: file, into: nothing)
      try? file.close()
    }
  }

  /// Ends at the file's end, and where it cannot be read: that is for the reader to find out.
  private static func read(_ range: Range<UInt64>, of file: FileDescriptor, into nothing: FileDescriptor) {
    var offset = off_t(clamping: range.lowerBound)
    let end = off_t(clamping: range.upperBound)
    while offset < end, unsafe sendfile(nothing.rawValue, file.rawValue, &offset, end - offset) > 0 {}
  }

  private func next() -> (range: Range<UInt64>, file: FileDescriptor)? {
    state.withLock { state in
      state.isRunning = !state.waiting.isEmpty
      return state.isRunning ? state.waiting.removeFirst() : nil
    }
  }

  /// There can be no more threads.
  private func giveUp() { while let (_, file) = next() { try? file.close() } }
}
