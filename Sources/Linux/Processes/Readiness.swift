internal import CLinux
internal import Glibc
package import SystemPackage

/// A handshake between a daemon and the command that started it: the daemon reports that it is ready, and the command
/// confirms that it has received this and will exit with 0.
///
/// If the command ends before that, the daemon detects it and undoes the mount. So no mount remains that was reported as
/// failed.
package struct Readiness: Sendable {
  /// The ends of one connection.
  private let command: FileDescriptor
  private let daemon: FileDescriptor

  /// Makes the connection, which is closed in children that execute another program: socketpair(2).
  package init() throws(Errno) {
    var ends: (CInt, CInt) = (-1, -1)
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    let result = unsafe withUnsafeMutableBytes(of: &ends) { ends in
      unsafe socketpair(AF_UNIX, type, 0, ends.bindMemory(to: CInt.self).baseAddress)
    }
    guard result == 0 else { throw Errno(rawValue: errno) }
    command = FileDescriptor(rawValue: ends.0)
    daemon = FileDescriptor(rawValue: ends.1)
  }

  /// Reports that the daemon is ready, after it has redirected standard input, output and error to /dev/null, so that
  /// readers of these streams do not wait for the daemon's end. False if the command has ended without receiving the
  /// report.
  package func signal() -> Bool {
    if let null = try? FileDescriptor.open(FilePath("/dev/null"), .readWrite, options: .closeOnExec) {
      for standard in [FileDescriptor.standardInput, .standardOutput, .standardError] {
        _ = try? null.duplicate(as: standard)
      }
      if null.rawValue > 2 { try? null.close() }
    }
    try? command.close()
    defer { try? daemon.close() }
    return Self.send(to: daemon) && Self.receive(from: daemon)
  }

  /// Waits for ``signal()`` in the parent, for at most `seconds`: poll(2). False if the daemon ended without it or
  /// did not report in time. Until then a signal ends the process as usual. From then on the process must exit with 0, and
  /// signals are blocked.
  package func wait(seconds: Int32) -> Bool {
    try? daemon.close()
    var request = pollfd(fd: command.rawValue, events: Int16(POLLIN), revents: 0)
    var count: CInt
    repeat { count = unsafe poll(&request, 1, seconds * 1000) } while count < 0 && errno == EINTR
    guard count == 1, Self.receive(from: command) else { return false }
    var all = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, nil)
    return Self.send(to: command)
  }

  private static func send(to end: FileDescriptor) -> Bool {
    var byte: UInt8 = 1
    return unsafe Glibc.send(end.rawValue, &byte, 1, Int32(MSG_NOSIGNAL)) == 1
  }

  private static func receive(from end: FileDescriptor) -> Bool {
    var byte: UInt8 = 0
    return unsafe withUnsafeMutableBytes(of: &byte) { unsafe (try? end.read(into: $0)) == 1 }
  }
}
