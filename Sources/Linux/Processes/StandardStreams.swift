internal import Glibc

/// Standard input, output and error.
package enum StandardStreams {
  /// Opens /dev/null for each stream that is closed: open(2), which returns the lowest free number. Writing to it is EBADF, as
  /// to a closed stream.
  ///
  /// Call it before any file is opened: ``Readiness/signal()`` would replace a file with one of these numbers.
  package static func openClosed() {
    while true {
      let descriptor = unsafe open("/dev/null", O_RDONLY)
      if descriptor > STDERR_FILENO { close(descriptor) }
      if descriptor < 0 || descriptor > STDERR_FILENO { return }
    }
  }
}
