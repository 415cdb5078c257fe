internal import Glibc
internal import Safetensors

/// Writes one line to standard error after the command's name, in one write(2) so that no other line gets into it.
/// Whatever the message quotes, from the command line or from another program, cannot act on the terminal.
public func printError(_ message: String, command: String) {
  let line = Array("\(command): \(PrintableText.line(message))\n".utf8)
  _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
