import Glibc
import Models
import TensorFiles

/// The progress of the command, as one line on a terminal that is overwritten; nothing if standard error is not a terminal.
struct Progress {
  private let command: String
  private let total: UInt64
  private var done: UInt64 = 0
  private let isShown: Bool
  private let start = ContinuousClock.now
  private var lastShown: ContinuousClock.Instant?

  private static let interval = Duration.milliseconds(200)

  /// Progress of a command towards that many bytes.
  init(_ command: String, total: UInt64) {
    self.command = command
    self.total = total
    isShown = isatty(STDERR_FILENO) == 1 && !StandardOutput.isTerminalDumb
  }

  /// Counts bytes, and shows the sum from time to time. A quick command shows nothing.
  mutating func add(_ count: UInt64) {
    done += count
    guard isShown else { return }
    let now = ContinuousClock.now
    guard now - (lastShown ?? start) >= Self.interval else { return }
    lastShown = now
    let rate = Double(done) / ((now - start) / .seconds(1))
    let left = UInt64((Double(total - min(done, total)) / max(rate, 1)).rounded(.up))
    let seconds = left % 60
    Self.print(
      "\r\(command): \(TensorTable.human(done)) of \(TensorTable.human(total)), \(TensorTable.human(UInt64(rate)))/s, "
        + "\(left / 60):\(seconds < 10 ? "0" : "")\(seconds) left\u{1b}[K")
  }

  /// Removes the line.
  mutating func clear() {
    if lastShown != nil { Self.print("\r\u{1b}[K") }
    lastShown = nil
  }

  private static func print(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
