import Glibc
import SystemPackage

/// The process that serves a mount.
struct Daemon: Sendable {
  let id: Int32

  init(id: Int32) { self.id = id }

  /// The daemon whose last argument is this mount point.
  init?(servingAt mountPoint: FilePath) throws {
    let found = try Listing("/proc").rest().compactMap { Int32("\($0.name)") }.first { id in
      // Skips most processes early.
      guard let name = try? OpenFile(FilePath("/proc/\(id)/comm")).bytes(step: 64),
        name == Array("stmount\n".utf8),
        let line = try? OpenFile(FilePath("/proc/\(id)/cmdline")).bytes()
      else { return false }
      let arguments = line.split(separator: 0)
      return arguments.first?.reversed().starts(with: "stmount".utf8.reversed()) == true
        && arguments.dropFirst().contains { FilePath(String(decoding: $0, as: UTF8.self)) == mountPoint }
    }
    guard let found else { return nil }
    id = found
  }

  /// False once the process has ended, even as a zombie: proc_pid_stat(5).
  var isRunning: Bool {
    guard let line = try? OpenFile(FilePath("/proc/\(id)/stat")).bytes() else { return false }
    // The name is in parentheses and may contain anything. The state follows it.
    let state = String(decoding: line, as: UTF8.self).split(separator: ") ").last?.first
    guard state == "Z" || state == "X" else { return true }
    // The first thread can end before the other threads, which hold the connection.
    return ((try? threads) ?? 0) > 1
  }

  /// The number of its threads.
  var threads: Int {
    // Two of the entries are `.` and `..`.
    get throws { try Listing(FilePath("/proc/\(id)/task")).rest().count - 2 }
  }

  /// True while a signal is pending: proc_pid_status(5).
  var hasPendingSignals: Bool {
    get throws {
      let status = String(decoding: try OpenFile(FilePath("/proc/\(id)/status")).bytes(), as: UTF8.self)
      return status.split(separator: "\n").contains { line in
        (line.hasPrefix("SigPnd:") || line.hasPrefix("ShdPnd:")) && !line.hasSuffix("\t0000000000000000")
      }
    }
  }

  func send(_ signal: CInt) { _ = kill(id, signal) }
}

/// Repeats `condition` until it holds. False if it does not hold within a minute, which a busy machine may need.
func eventually(
  every pause: Duration = .milliseconds(5), _ condition: () throws -> Bool
) async throws -> Bool {
  let start = ContinuousClock.now
  while true {
    if try condition() { return true }
    guard ContinuousClock.now - start < .seconds(60) else { return false }
    try await Task.sleep(for: pause)
  }
}

/// True if `condition` holds within 400 pauses, which take about two seconds, and longer on a busy machine.
func withinTwoSeconds(_ condition: () throws -> Bool) async throws -> Bool {
  for _ in 0..<400 {
    if try condition() { return true }
    try await Task.sleep(for: .milliseconds(5))
  }
  return try condition()
}
