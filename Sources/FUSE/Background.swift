internal import CFuse
internal import Glibc
public import SystemPackage

/// How a daemon tells the command that started it that it is ready: a pipe with one byte.
public struct Readiness: Sendable {
  private let reader: FileDescriptor
  private let writer: FileDescriptor

  /// Makes the pipe, which no child that executes something else inherits: pipe(2), fcntl(2).
  public init() throws(Errno) {
    (reader, writer) = try makePipe()
  }

  /// Says that the daemon is ready, after leaving the terminal to the command: standard input, output and error
  /// go to /dev/null, so that whoever waits for their end need not wait for the daemon's.
  public func signal() {
    if let null = try? FileDescriptor.open(FilePath("/dev/null"), .readWrite, options: .closeOnExec) {
      for standard in [FileDescriptor.standardInput, .standardOutput, .standardError] {
        _ = try? null.duplicate(as: standard)
      }
      if null.rawValue > 2 { try? null.close() }
    }
    _ = try? writer.writeAll([1])
    try? writer.close()
  }

  /// Waits for ``signal()`` in the parent, for at most `seconds`. False where the daemon ended without it or
  /// did not say so in time: poll(2).
  public func wait(seconds: Int32) -> Bool {
    try? writer.close()
    var request = pollfd(fd: reader.rawValue, events: Int16(POLLIN), revents: 0)
    // A signal ends the waiting: they are blocked here, so none interrupts it but to end the process.
    guard unsafe poll(&request, 1, seconds * 1000) == 1 else { return false }
    var byte: UInt8 = 0
    return unsafe withUnsafeMutableBytes(of: &byte) { unsafe (try? reader.read(into: $0)) == 1 }
  }
}

/// Standard input, output and error.
public enum StandardStreams {
  /// Opens /dev/null in place of each that is closed: open(2), which gives the lowest number that is free.
  ///
  /// Call it before anything is opened. A file that had one of their numbers would be replaced by
  /// ``Readiness/signal()``.
  public static func openClosed() {
    while true {
      let descriptor = unsafe open("/dev/null", O_RDWR)
      if descriptor > STDERR_FILENO { close(descriptor) }
      if descriptor < 0 || descriptor > STDERR_FILENO { return }
    }
  }
}

/// Which side of a fork a process is.
public enum ForkedProcess: Sendable {
  /// The process that called, with the new one's id.
  case parent(child: Int32)
  /// The new process: in a session of its own, with `/` as its working directory.
  case child

  /// Splits the process: fork(2), then setsid(2) and chdir(2) in the child. No thread may have been started.
  public static func fork() throws(Errno) -> ForkedProcess {
    let id = stmount_fork()
    if id < 0 { throw Errno(rawValue: errno) }
    if id > 0 { return .parent(child: id) }
    setsid()
    _ = unsafe chdir("/")
    return .child
  }
}

/// A pipe whose ends are closed in children that execute another program: pipe(2), fcntl(2).
func makePipe() throws(Errno) -> (reader: FileDescriptor, writer: FileDescriptor) {
  let ends: (readEnd: FileDescriptor, writeEnd: FileDescriptor)
  do {
    ends = try FileDescriptor.pipe()
  } catch {
    throw error as? Errno ?? .ioError
  }
  for end in [ends.readEnd, ends.writeEnd] { _ = fcntl(end.rawValue, F_SETFD, FD_CLOEXEC) }
  return (ends.readEnd, ends.writeEnd)
}
