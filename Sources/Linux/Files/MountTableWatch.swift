internal import Glibc
internal import SystemPackage

/// Tells whether anything was mounted, unmounted or mounted otherwise since it was last asked: poll(2) of
/// `/proc/self/mountinfo`.
package final class MountTableWatch: Sendable {
  private let file: FileDescriptor?

  /// Watches from now on.
  package init() {
    file = try? FileDescriptor.open(FilePath("/proc/self/mountinfo"), .readOnly, options: .closeOnExec)
  }

  deinit { try? file?.close() }

  /// What poll(2) shall wait for; without a descriptor, nothing.
  var request: pollfd { pollfd(fd: file?.rawValue ?? -1, events: Int16(POLLPRI), revents: 0) }

  /// True after a change, once for each; and where nothing can be watched.
  package var hasChanged: Bool {
    var request = request
    return unsafe poll(&request, 1, 0) != 0 || file == nil
  }
}
