internal import CLinux
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// Reads that do not keep a process from ending: io_submit(2) and io_getevents(2).
///
/// A thread that waits in pread(2) for a direct read of FUSE outlasts SIGKILL until the file system answers, and its process with
/// it.
final class KillableReads: Sendable {
  /// Contexts that no thread uses at the moment. There are as many as reads at a time; making one takes longer than using it.
  private let contexts = Mutex<[UInt]>([])

  /// As pread(2): reads at most as many bytes as `target` has, and returns how many.
  func read(
    _ file: FileDescriptor, from offset: UInt64, into target: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Int {
    var context = contexts.withLock { $0.popLast() } ?? 0
    if context == 0 { context = stmount_new_read_context() }
    // Some sandboxes forbid the call, and there is a limit, fs.aio-max-nr.
    guard context != 0 else { return try unsafe Self.plainRead(file, from: offset, into: target) }
    defer { contexts.withLock { $0.append(context) } }
    let got = unsafe stmount_read_killably(
      context, file.rawValue, target.baseAddress, target.count, Int64(clamping: offset))
    guard got >= 0 else { throw Errno(rawValue: CInt(truncatingIfNeeded: -got)) }
    return got
  }

  private static func plainRead(
    _ file: FileDescriptor, from offset: UInt64, into target: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Int {
    do {
      return try unsafe file.read(fromAbsoluteOffset: Int64(clamping: offset), into: target)
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}
