import Glibc
import Safetensors
import SystemPackage

/// Standard output of a command that lists.
enum StandardOutput {
  /// True if colours are wanted: on terminals with colours, unless NO_COLOR is set: no-color.org.
  static var isColoured: Bool {
    let isUnwanted = unsafe getenv("NO_COLOR").map { unsafe $0.pointee != 0 } ?? false
    return isatty(STDOUT_FILENO) == 1 && !isUnwanted && !isTerminalDumb
  }

  /// True if TERM is `dumb` or unset.
  static var isTerminalDumb: Bool {
    unsafe getenv("TERM").map { unsafe strcmp($0, "dumb") == 0 } ?? true
  }

  /// The width of the terminal in characters: TIOCGWINSZ of ioctl_tty(2). Nil if standard output is not a terminal, or has no width.
  static var terminalWidth: Int? {
    // struct winsize: rows, columns, and two unused fields.
    var size: (UInt16, columns: UInt16, UInt16, UInt16) = (0, 0, 0, 0)
    guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.columns > 0 else { return nil }
    return Int(size.columns)
  }

  /// Writes what print() has buffered: fflush(3).
  static func flush() throws(Failure) {
    guard fflush(nil) == 0 else {
      throw .system("cannot write to standard output: \(Errno(rawValue: errno))")
    }
  }

  /// Writes lines for programs. On a terminal, characters that could act on it are escaped.
  static func write(lines: [UInt8]) throws(Failure) {
    guard isatty(STDOUT_FILENO) == 1 else { return try write(lines) }
    let shown = lines.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .map { PrintableText.line($0) }
    try write(Array(shown.joined(separator: "\n").utf8))
  }

  /// Writes everything: write(2).
  static func write(_ bytes: [UInt8]) throws(Failure) {
    do {
      _ = try FileDescriptor.standardOutput.writeAll(bytes)
    } catch {
      throw .system("cannot write to standard output: \(error)")
    }
  }
}
