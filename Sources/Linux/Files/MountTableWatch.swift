internal import Glibc
internal import SystemPackage

/// Reports whether the mount table has changed since the last call: poll(2) of `/proc/self/mountinfo`.
package final class MountTableWatch: Sendable {
  private let file: FileDescriptor?

  /// Watches from now on.
  package init() {
    file = try? FileDescriptor.open(FilePath("/proc/self/mountinfo"), .readOnly, options: .closeOnExec)
  }

  deinit { try? file?.close() }

  /// The descriptor and events for poll(2); without a descriptor, none.
  var request: pollfd { pollfd(fd: file?.rawValue ?? -1, events: Int16(POLLPRI), revents: 0) }

  /// True after a change, once for each; always true if nothing can be watched.
  package var hasChanged: Bool {
    var request = request
    return unsafe poll(&request, 1, 0) != 0 || file == nil
  }
}
