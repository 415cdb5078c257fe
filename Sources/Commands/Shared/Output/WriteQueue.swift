import Dispatch
import Linux
import Models
import Synchronization
import SystemPackage

/// A queue of buffers for the end of a file: a thread writes one buffer while the next ones are filled.
///
/// There are ``depth`` buffers, so that neither side waits for the other at each buffer.
final class WriteQueue {
  /// The number of buffers, including the one that is being filled.
  private static let depth = 4
  /// The thread's stack size in bytes; it only calls write(2).
  private static let stackSize = 256 << 10

  /// Kept so that the descriptor stays open while the thread runs.
  private let output: OutputFile
  private let work: Work
  /// Nil if no more threads are allowed: each buffer is then written directly.
  private let thread: WorkerThread?

  /// A queue to the end of a file, with buffers of that size. With `writesBack`, the kernel at once begins to bring written pages
  /// to the disk, for an fsync(2) that follows.
  init(to output: OutputFile, bufferSize: Int, writesBack: Bool) {
    self.output = output
    let work = Work(
      output.descriptor, spares: Self.depth - 1, bufferSize: bufferSize, writesBack: writesBack)
    self.work = work
    thread = WorkerThread(stackSize: Self.stackSize) { work.run() }
  }

  deinit {
    work.end()
    thread?.join()
  }

  /// Queues the first `count` bytes of a buffer, to be written at `offset` after all earlier ones, and returns the next buffer
  /// to fill. Throws the error of an earlier one.
  func write(_ count: Int, of buffer: consuming [UInt8], at offset: UInt64) throws(Errno) -> [UInt8] {
    work.add(Item(buffer: buffer, count: count, offset: offset))
    if thread == nil { work.step() }
    return try work.takeSpare()
  }

  /// Waits until all is written.
  func drain() throws(Errno) {
    var spares: [[UInt8]] = []
    for _ in 1..<Self.depth { spares.append(try work.takeSpare()) }
    for spare in spares { work.giveBack(spare) }
  }

  private struct Item {
    var buffer: [UInt8]
    var count: Int
    var offset: UInt64
  }

  /// What both sides share.
  private final class Work: Sendable {
    private struct State {
      var items: [Item] = []
      var spares: [[UInt8]] = []
      var failure: Errno?
    }

    private let target: FileDescriptor
    private let writesBack: Bool
    private let state = Mutex(State())
    /// These count the items and the spare buffers.
    private let itemCount = DispatchSemaphore(value: 0)
    private let spareCount = DispatchSemaphore(value: 0)

    init(_ target: FileDescriptor, spares: Int, bufferSize: Int, writesBack: Bool) {
      self.target = target
      self.writesBack = writesBack
      for _ in 0..<spares { giveBack([UInt8](repeating: 0, count: bufferSize)) }
    }

    func add(_ item: Item) {
      state.withLock { $0.items.append(item) }
      itemCount.signal()
    }

    /// Lets the thread end once it has nothing left to do.
    func end() { itemCount.signal() }

    /// The thread.
    func run() { while step() {} }

    /// Writes the next buffer, once there is one; false at the end.
    @discardableResult func step() -> Bool {
      itemCount.wait()
      let (item, failure) = state.withLock { state in
        (state.items.isEmpty ? nil : state.items.removeFirst(), state.failure)
      }
      guard let item else { return false }
      if failure == nil { write(item) }
      giveBack(item.buffer)
      return true
    }

    private func write(_ item: Item) {
      do {
        try target.writeAll(item.buffer[..<item.count])
        if writesBack { target.beginWriteback(of: item.offset..<item.offset + UInt64(item.count)) }
      } catch {
        state.withLock { $0.failure = error as? Errno ?? .ioError }
      }
    }

    func giveBack(_ buffer: [UInt8]) {
      state.withLock { $0.spares.append(buffer) }
      spareCount.signal()
    }

    func takeSpare() throws(Errno) -> [UInt8] {
      spareCount.wait()
      return try state.withLock { state throws(Errno) in
        if let failure = state.failure { throw failure }
        return state.spares.removeLast()
      }
    }
  }
}
