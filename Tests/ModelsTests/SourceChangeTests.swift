import Fixtures
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import Linux
@testable import Models

@Suite("Detecting changed sources") struct SourceChangeTests {
  private let directory: TemporaryDirectory
  private let path: FilePath
  private let file: SourceFile

  init() throws {
    directory = try TemporaryDirectory()
    path = try directory.write("file", Array(0..<200))
    file = try SourceFile(opening: path)
  }

  /// A source that inotify watches.
  private func watch() throws -> SourceWatch {
    let watch = try SourceWatch()
    try #require(
      try file.watch(by: watch), "the temporary directory's file system does not report all writes")
    return watch
  }

  // MARK: With inotify

  @Test(
    "With a watch, no harmless act is a change, however often it happens",
    arguments: HarmlessAct.allCases)
  func harmless(act: HarmlessAct) throws {
    _ = try watch()
    for _ in 0..<3 {
      #expect(file.verdict() == .unchanged)
      try act.apply(to: path)
      #expect(file.verdict() == .unchanged)
      #expect(file.verdict() == .unchanged)
      if act == .renamed { try #require(unsafe rename("\(path).elsewhere", "\(path)") == 0) }
      if act == .linked { try #require(unsafe unlink("\(path).elsewhere") == 0) }
    }
  }

  @Test(
    "With a watch, a rewrite with a restored mtime is a change, before and after every harmless act",
    arguments: Rewriting.allCases)
  func rewriting(_ rewriting: Rewriting) throws {
    for act in HarmlessAct.allCases where act != .renamed {
      for isFirst in [true, false] {
        // Only the close event reveals an unreported write, and stmount ignores that event if stat(2) explains the change time.
        if !rewriting.isReported, act.isSeenByStatus { continue }
        let path = try directory.write("\(act).\(isFirst)", Array(0..<200))
        let file = try SourceFile(opening: path)
        #expect(try file.watch(by: SourceWatch()))
        #expect(file.verdict() == .unchanged)
        if !isFirst { try act.apply(to: path) }
        try rewriting.apply(to: path, last: 10)
        if isFirst { try act.apply(to: path) }
        #expect(try Stat(path).st_mtim.isEqual(file.status.st_mtim) && Stat(path).size == 200)
        #expect(file.verdict() == .changed(.contents), "\(act), \(isFirst)")
        #expect(file.verdict() == .changed(.contents), "\(act), \(isFirst)")
      }
    }
  }

  @Test("With a watch, a rewrite after a harmless act is a change", arguments: HarmlessAct.allCases)
  func later(act: HarmlessAct) throws {
    _ = try watch()
    try act.apply(to: path)
    #expect(file.verdict() == .unchanged)
    try Rewriting.inPlace.apply(to: act == .renamed ? FilePath("\(path).elsewhere") : path, last: 1)
    #expect(file.verdict() == .changed(.contents))
  }

  @Test(
    "A write that inotify does not report is a change at once by its mtime, while the writer still has the file open",
    arguments: Rewriting.allCases.filter { !$0.isReported })
  func openWriter(rewriting: Rewriting) throws {
    _ = try watch()
    try rewriting.apply(to: path, last: 10) { #expect(file.verdict() == .changed(.contents)) }
    #expect(file.verdict() == .changed(.contents))
  }

  @Test(
    "A file that was opened for writing counts as changed once both its times are set, even to the old values"
  )
  func sameTimes() throws {
    _ = try watch()
    let writer = try FileDescriptor.open(path, .writeOnly)
    try writer.closeAfter {
      let times = [file.status.st_atim, file.status.st_mtim]
      try #require(unsafe futimens(writer.rawValue, times) == 0)
    }
    #expect(file.verdict() == .changed(.contents))
  }

  @Test("touch -a and then chmod to the same mode are harmless only if the source was read in between")
  func touchedAndSameMode() throws {
    _ = try watch()
    try HarmlessAct.touched.apply(to: path)
    #expect(file.verdict() == .unchanged)
    try HarmlessAct.sameMode.apply(to: path)
    #expect(file.verdict() == .unchanged)
    try HarmlessAct.touched.apply(to: path)
    try HarmlessAct.sameMode.apply(to: path)
    #expect(file.verdict() == .changed(.contents))
  }

  @Test("Setting only the modification time counts as a write, even to its old value")
  func modificationTime() throws {
    _ = try watch()
    let keep = timespec(tv_sec: 0, tv_nsec: 0x3FFF_FFFE)  // UTIME_OMIT
    let times = [keep, file.status.st_mtim]
    try #require(unsafe utimensat(AT_FDCWD, "\(path)", times, 0) == 0)
    #expect(file.verdict() == .changed(.contents))
  }

  @Test("A change between opening a source and watching it is detected")
  func beforeWatching() throws {
    try HarmlessAct.otherMode.apply(to: path)
    _ = try watch()
    #expect(file.verdict() == .unchanged)
    let second = try SourceFile(opening: path)
    try Rewriting.inPlace.apply(to: path, last: 1)
    _ = try second.watch(by: SourceWatch())
    #expect(second.verdict() == .changed(.contents))
  }

  @Test("One inotify instance watches many sources, and distinguishes their changes")
  func many() throws {
    // A shell's usual limit is 1,024 open files.
    OpenFileLimit.raise()
    let watch = try SourceWatch()
    let files = try (0..<1_500).map { try SourceFile(opening: directory.write("f\($0)", Array(0..<200))) }
    for file in files { #expect(try file.watch(by: watch)) }
    for (number, file) in files.enumerated() {
      try HarmlessAct.sameMode.apply(to: file.path)
      if number % 3 == 0 { try Rewriting.inPlace.apply(to: file.path, last: 1) }
    }
    for (number, file) in files.enumerated().reversed() {
      #expect(file.verdict() == (number % 3 == 0 ? .changed(.contents) : .unchanged), "\(number)")
    }
  }

  @Test("Two sources of one file both detect a change, and a third, opened afterwards, does not")
  func same() throws {
    let watch = try watch()
    let second = try SourceFile(opening: path)
    #expect(try second.watch(by: watch))
    try Rewriting.inPlace.apply(to: path, last: 1)
    #expect(file.verdict() == .changed(.contents))
    let third = try SourceFile(opening: path)
    #expect(try third.watch(by: watch))
    #expect(second.verdict() == .changed(.contents))
    try HarmlessAct.sameMode.apply(to: path)
    #expect(third.verdict() == .unchanged)
  }

  @Test("After lost events, a new ctime is a change of unknown kind; other sources are not affected")
  func lostEvents() throws {
    let watch = try watch()
    let others = try ["a", "b"].map { try SourceFile(opening: directory.write($0, [1])) }
    for other in others { #expect(try other.watch(by: watch)) }
    try HarmlessAct.sameMode.apply(to: path)
    // inotify merges consecutive equal events, so events of two files alternate.
    let limit = try String(
      decoding: SourceFile.bytes(of: "/proc/sys/fs/inotify/max_queued_events"), as: UTF8.self)
    let count = try #require(Int(limit.split(separator: "\n")[0]))
    for _ in 0...count / 2 {
      for other in others { try HarmlessAct.sameMode.apply(to: other.path) }
    }
    #expect(file.verdict() == .changed(.unknown))
    #expect(others[0].verdict() == .changed(.unknown))
    // After the queue was read, the watch of a new source works again.
    let quiet = try SourceFile(opening: directory.write("c", [1]))
    #expect(try quiet.watch(by: watch))
    try HarmlessAct.sameMode.apply(to: quiet.path)
    #expect(quiet.verdict() == .unchanged)
  }

  @Test("Lost events do not affect a source with its old ctime")
  func lostEventsOfOthers() throws {
    let watch = try watch()
    let others = try ["a", "b"].map { try SourceFile(opening: directory.write($0, [1])) }
    for other in others { #expect(try other.watch(by: watch)) }
    for _ in 0...10_000 {
      for other in others { try HarmlessAct.sameMode.apply(to: other.path) }
    }
    #expect(others[0].verdict() == .changed(.unknown))
    #expect(file.verdict() == .unchanged)
    try HarmlessAct.sameMode.apply(to: path)
    #expect(file.verdict() == .unchanged)
  }

  // MARK: Without inotify

  @Test(
    "A file system that other machines write to is not watched, even on a block device, and a new ctime is a change",
    arguments: [0x7461_636F, 0x0116_1970, 0x0BD0_0BD0, 0] as [UInt32])
  func otherMachines(magic: UInt32) throws {
    // OCFS2, GFS2, Lustre, and an unknown file system.
    #expect(file.requestSize == nil, "the temporary directory is on a network")
    let kind = FileSystemKind(magic: magic, kernel: (6, 13), nanoseconds: 1)
    #expect(try !file.watch(by: SourceWatch(), kind))
    try HarmlessAct.sameMode.apply(to: path)
    #expect(file.verdict() == .changed(.contents))
  }

  @Test(
    "Without a watch, an act is harmless if stat shows it, and a change otherwise",
    arguments: HarmlessAct.allCases)
  func unwatched(act: HarmlessAct) throws {
    #expect(file.verdict() == .unchanged)
    try act.apply(to: path)
    let isHarmless = act.isSeenByStatus || !act.setsChangeTime
    #expect(file.verdict() == (isHarmless ? .unchanged : .changed(.contents)))
  }

  @Test(
    "Without a watch, a rewrite with a restored mtime is a change unless stat shows another act",
    arguments: Rewriting.allCases)
  func unwatchedRewriting(_ rewriting: Rewriting) throws {
    for act in HarmlessAct.allCases {
      let path = try directory.write("\(act)", Array(0..<200))
      let file = try SourceFile(opening: path)
      try rewriting.apply(to: path, last: 10)
      try act.apply(to: path)
      #expect(file.verdict() == (act.isSeenByStatus ? .unchanged : .changed(.contents)), "\(act)")
    }
  }

  // MARK: Opening

  @Test("A FIFO that replaces a file while it is opened is refused without being opened")
  func swappedFIFO() throws {
    let fifo = try directory.makeFIFO("fifo")
    let inotify = try Inotify()
    let place = try FileDescriptor.open(fifo, .init(rawValue: __O_PATH))
    let opened = Inotify.Events(rawValue: UInt32(IN_OPEN))
    let watched = try place.closeAfter { try inotify.watch(place, for: opened) }
    let other = directory.path.appending("other")
    let swapping = Swapping()
    let swapper = WorkerThread {
      while !swapping.isDone.load(ordering: .relaxed) {
        for (from, to) in [(path, other), (fifo, path), (path, fifo), (other, path)] {
          _ = unsafe rename("\(from)", "\(to)")
        }
      }
    }
    var outcomes: [String: Int] = [:]
    for _ in 0..<10_000 {
      do {
        _ = try SourceFile(opening: path)
        outcomes["opened", default: 0] += 1
      } catch {
        outcomes[error.problem, default: 0] += 1
      }
    }
    swapping.isDone.store(true, ordering: .relaxed)
    swapper?.join()
    #expect(outcomes["opened", default: 0] > 0 && outcomes.count > 1, "\(outcomes)")
    var opens = 0
    inotify.drain { number, _ in if number == watched { opens += 1 } }
    #expect(opens == 0, "\(outcomes)")
  }
}

/// Tells the thread that swaps names when to stop.
private final class Swapping: Sendable {
  let isDone = Atomic<Bool>(false)
}

extension SourceFile {
  /// All bytes of a file in /proc, whose size stat(2) reports as 0.
  fileprivate static func bytes(of path: FilePath) throws -> [UInt8] {
    let file = try FileDescriptor.open(path, .readOnly)
    return try file.closeAfter {
      try unsafe [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
        count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
    }
  }
}
