internal import Glibc
package import SystemPackage

/// An instance of inotify(7): what happens to files, told by the kernel.
///
/// The kernel queues an event before the system call that caused it returns. Reading the queue never waits and opens
/// nothing, so that threads without the right to open files can do it.
package final class Inotify: Sendable {
  /// A watched inode: the number that inotify_add_watch(2) returns.
  package typealias WatchNumber = CInt

  /// What has happened: bits of inotify(7).
  package struct Events: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The contents or the size were set: write(2), truncate(2), fallocate(2). Not by a shared mapping, nor by io_submit(2).
    package static let modified = Events(rawValue: 0x2)
    /// The permissions, owner, links, times or extended attributes were set. A time of access that is set alone is no event.
    package static let attributes = Events(rawValue: 0x4)
    /// A descriptor that could write was closed.
    package static let closedByWriter = Events(rawValue: 0x8)
    /// A descriptor was opened.
    package static let opened = Events(rawValue: 0x20)
    /// The file was renamed.
    package static let moved = Events(rawValue: 0x800)
    /// Events are missing, since the queue was full (`max_queued_events`). Of no watch.
    package static let overflow = Events(rawValue: 0x4000)
  }

  private let descriptor: FileDescriptor

  /// Makes an instance: inotify_init1(2). Throws EMFILE where the user has `max_user_instances` already.
  package init() throws(Errno) {
    let number = inotify_init1(CInt(IN_NONBLOCK) | CInt(IN_CLOEXEC))
    guard number >= 0 else { throw Errno(rawValue: errno) }
    descriptor = FileDescriptor(rawValue: number)
  }

  deinit { try? descriptor.close() }

  /// Watches the inode of an open file, whatever its path is: inotify_add_watch(2). An inode that is watched already
  /// keeps its number. Throws ENOSPC where the user has `max_user_watches` already.
  package func watch(_ file: FileDescriptor, for events: Events) throws(Errno) -> WatchNumber {
    let number = unsafe inotify_add_watch(
      descriptor.rawValue, "/proc/self/fd/\(file.rawValue)", events.rawValue)
    guard number >= 0 else { throw Errno(rawValue: errno) }
    return number
  }

  /// Calls `body` with every event that is queued, in order, and removes it: read(2).
  package func drain(_ body: (WatchNumber, Events) -> Void) {
    let capacity = 16 << 10
    unsafe withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 8) { buffer in
      var count: Int
      repeat {
        count = max(0, unsafe read(descriptor.rawValue, buffer.baseAddress, capacity))
        var events = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count])
        // struct inotify_event: wd, mask, cookie, len, and a name of len bytes, which a watched file has not.
        while events.count >= 16 {
          unsafe body(
            events.load(as: CInt.self), Events(rawValue: events.load(fromByteOffset: 4, as: UInt32.self)))
          let size = unsafe 16 + Int(events.load(fromByteOffset: 12, as: UInt32.self))
          unsafe events = UnsafeRawBufferPointer(rebasing: events.dropFirst(size))
        }
        // There was room for another event.
      } while count > capacity - 512
    }
  }
}
