internal import Glibc

/// Writes one line to standard error after the command's name, in one write(2) so that no other line gets into it.
public func printError(_ message: String, command: String) {
  let line = Array("\(command): \(message)\n".utf8)
  _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
