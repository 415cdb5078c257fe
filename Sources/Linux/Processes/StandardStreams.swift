internal import Glibc

/// Standard input, output and error.
package enum StandardStreams {
  /// Opens /dev/null in place of each that is closed: open(2), which gives the lowest number that is free.
  ///
  /// Call it before anything is opened. A file that had one of their numbers would be replaced by
  /// ``Readiness/signal()``.
  package static func openClosed() {
    while true {
      let descriptor = unsafe open("/dev/null", O_RDWR)
      if descriptor > STDERR_FILENO { close(descriptor) }
      if descriptor < 0 || descriptor > STDERR_FILENO { return }
    }
  }
}
