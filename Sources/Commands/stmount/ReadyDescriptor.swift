import ArgumentParser
import Glibc
import SystemPackage

/// A file descriptor on which this process reports that the mount answers.
struct ReadyDescriptor: ExpressibleByArgument, Sendable {
  let descriptor: FileDescriptor

  /// A descriptor by its number; nil if that is invalid, or not open.
  init?(argument: String) {
    guard let number = Int32(argument), number >= 0, fcntl(number, F_GETFD) >= 0 else { return nil }
    descriptor = FileDescriptor(rawValue: number)
    // fusermount3 must not inherit it, or a reader would wait for fusermount3's end too.
    if number > 2 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
  }

  /// Writes a newline, so that a shell's `read` returns too, and closes the descriptor. A missing reader is not an error.
  func signal() {
    _ = try? descriptor.writeAll([UInt8(ascii: "\n")])
    if descriptor.rawValue > 2 { try? descriptor.close() }
  }
}
