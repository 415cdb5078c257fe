internal import Glibc
package import SystemPackage

/// An instance of inotify(7), by which the kernel reports what happens to files.
///
/// The kernel queues an event before the system call that caused it returns. Reading the queue never waits and opens
/// nothing, so threads without the right to open files can do it.
package final class Inotify: Sendable {
  /// A watched inode: the number that inotify_add_watch(2) returns.
  package typealias WatchNumber = CInt

  /// What has happened: bits of inotify(7).
  package struct Events: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The contents or the size were set: write(2), truncate(2), fallocate(2). Not by a shared mapping, nor by io_submit(2).
    package static let modified = Events(rawValue: 0x2)
    /// The permissions, owner, links, times or extended attributes were set. Setting only the access time is no event.
    package static let attributes = Events(rawValue: 0x4)
    /// A descriptor that could write was closed.
    package static let closedByWriter = Events(rawValue: 0x8)
    /// The file was renamed.
    package static let moved = Events(rawValue: 0x800)
    /// Events were lost, since the queue was full (`max_queued_events`). Belongs to no watch.
    package static let overflow = Events(rawValue: 0x4000)
  }

  private let descriptor: FileDescriptor

  /// Makes an instance: inotify_init1(2). Throws EMFILE if the user has `max_user_instances` already.
  package init() throws(Errno) {
    let number = inotify_init1(CInt(IN_NONBLOCK) | CInt(IN_CLOEXEC))
    guard number >= 0 else { throw Errno(rawValue: errno) }
    descriptor = FileDescriptor(rawValue: number)
  }

  deinit { try? descriptor.close() }

  /// Watches the inode of an open file, whatever its path: inotify_add_watch(2). An inode that is watched already
  /// keeps its number. Throws ENOSPC if the user has `max_user_watches` already.
  package func watch(_ file: FileDescriptor, for events: Events) throws(Errno) -> WatchNumber {
    let number = unsafe inotify_add_watch(
      descriptor.rawValue, "\(file.entry)", events.rawValue)
    guard number >= 0 else { throw Errno(rawValue: errno) }
    return number
  }

  /// Calls `body` with every queued event, in order, and removes it: read(2).
  package func drain(_ body: (WatchNumber, Events) -> Void) {
    let capacity = 16 << 10
    unsafe withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 8) { buffer in
      var count: Int
      repeat {
        count = max(0, unsafe read(descriptor.rawValue, buffer.baseAddress, capacity))
        var events = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count])
        // struct inotify_event: wd, mask, cookie, len, and a name of len bytes, which is empty for a watched file.
        while events.count >= 16 {
          unsafe body(
            events.load(as: CInt.self), Events(rawValue: events.load(fromByteOffset: 4, as: UInt32.self)))
          let size = unsafe 16 + Int(events.load(fromByteOffset: 12, as: UInt32.self))
          unsafe events = UnsafeRawBufferPointer(rebasing: events.dropFirst(size))
        }
        // The buffer had room for another event, so the queue is empty.
      } while count > capacity - 512
    }
  }
}
