import ArgumentParser
import Glibc
import SystemPackage

/// A file descriptor that this process was given to say on that the mount answers.
struct ReadyDescriptor: ExpressibleByArgument, Sendable {
  private let descriptor: FileDescriptor

  /// A descriptor by its number; nil where that is none, or not open.
  init?(argument: String) {
    guard let number = Int32(argument), number >= 0, fcntl(number, F_GETFD) >= 0 else { return nil }
    descriptor = FileDescriptor(rawValue: number)
    // fusermount3 shall not have it: whoever waits for its end would wait for that too.
    if number > 2 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
  }

  /// Writes a newline, so that `read` of a shell returns too, and closes the descriptor. Nobody listening is no error.
  func signal() {
    _ = try? descriptor.writeAll([UInt8(ascii: "\n")])
    if descriptor.rawValue > 2 { try? descriptor.close() }
  }
}
