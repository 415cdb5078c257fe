import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Writes one line to standard error after the command's name, in one write(2) so that lines do not mix.
/// Text that the message quotes, from the command line or from another program, cannot act on the terminal.
///
/// If standard error is systemd's journal, the line begins with its priority instead, a number of syslog(3) in
/// angle brackets, by default that of an error: sd-daemon(3). The journal knows the command.
func printError(_ message: String, command: String, priority: Int32? = nil) {
  let start = isStandardErrorTheJournal() ? "<\(priority ?? LOG_ERR)>" : "\(command): "
  let line = Array("\(start)\(PrintableText.line(message))\n".utf8)
  _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// True if standard error is the stream that `JOURNAL_STREAM` names by device and inode: systemd.exec(5).
private func isStandardErrorTheJournal() -> Bool {
  guard let stream = unsafe getenv("JOURNAL_STREAM") else { return false }
  let numbers = unsafe String(cString: stream).split(separator: ":").compactMap { UInt64($0) }
  guard numbers.count == 2, let status = try? Stat(.standardError) else { return false }
  return numbers[0] == UInt64(status.deviceID.rawValue) && numbers[1] == UInt64(status.inode.rawValue)
}
