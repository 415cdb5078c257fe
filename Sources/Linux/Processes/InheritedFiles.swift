internal import Glibc
package import SystemPackage

/// The files that this process was started with, beside the standard streams.
package struct InheritedFiles: Sendable {
  private let numbers: [CInt]

  /// What is open now, as /proc/self/fd lists it; nothing if /proc is not mounted. Call it before anything is opened.
  package init() {
    let names = (try? FilePath("/proc/self/fd").entryNames()) ?? []
    numbers = names.compactMap { CInt(String(decoding: $0, as: UTF8.self)) }
      // The listing names the descriptor that it was read by, which is closed by now.
      .filter { $0 > STDERR_FILENO && fcntl($0, F_GETFD) >= 0 }
  }

  /// Closes them, except for one. Otherwise a lock on one of them, or a pipe's end, would last as long as this process: flock(2),
  /// pipe(7).
  package func close(except kept: FileDescriptor?) {
    for number in numbers where number != kept?.rawValue { _ = Glibc.close(number) }
  }
}
