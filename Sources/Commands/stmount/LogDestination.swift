import Glibc
import Logging
import Models
import TensorFiles

/// The destination of log lines: standard error in the foreground, syslog(3) in the background.
enum LogDestination: Sendable {
  case standardError
  case syslog

  /// Makes every logger of the process write here. Call it once, before the first logger is made.
  func bootstrap(level: Logger.Level) {
    if self == .syslog {
      // The threads that answer requests cannot open files, not even that of the time zone.
      tzset()
      // The string must outlive the process's logging: a literal does.
      let name: StaticString = "stmount"
      unsafe openlog(
        UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), LOG_PID, LOG_DAEMON)
    }
    LoggingSystem.bootstrap { _ in LineLogHandler(destination: self, logLevel: level) }
  }

  fileprivate func write(_ level: Logger.Level, _ message: String) {
    switch self {
    case .standardError:
      printError(message, command: "stmount", priority: level.syslogPriority)
    case .syslog:
      unsafe message.withCString { pointer in
        unsafe withVaList([pointer]) { unsafe vsyslog(level.syslogPriority, "%s", $0) }
      }
    }
  }
}

extension Logger {
  /// The key of the metadata with the mount point of an event.
  static let mountKey = "mount"
}

/// One line for each event.
private struct LineLogHandler: LogHandler {
  let destination: LogDestination
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let level = event.level >= .warning ? "\(event.level): " : ""
    let place = metadata[Logger.mountKey].map { "\($0): " } ?? ""
    destination.write(event.level, level + place + event.message.description)
  }
}

extension Logger.Level {
  /// The priority of syslog(3).
  fileprivate var syslogPriority: Int32 {
    switch self {
    case .trace, .debug: LOG_DEBUG
    case .info: LOG_INFO
    case .notice: LOG_NOTICE
    case .warning: LOG_WARNING
    case .error: LOG_ERR
    case .critical: LOG_CRIT
    }
  }
}
