internal import CFuse
internal import Glibc
public import SystemPackage

/// How a daemon and the command that started it agree that the mount stays: the daemon says that it is ready, and the
/// command that it has heard so and ends well.
///
/// Whatever ends the command before that, the daemon notices and undoes the mount: nobody is left with one that they were
/// told had failed.
public struct Readiness: Sendable {
  /// The ends of one connection.
  private let command: FileDescriptor
  private let daemon: FileDescriptor

  /// Makes the connection, which no child that executes something else inherits: socketpair(2).
  public init() throws(Errno) {
    var ends: (CInt, CInt) = (-1, -1)
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    let result = unsafe withUnsafeMutableBytes(of: &ends) { ends in
      unsafe socketpair(AF_UNIX, type, 0, ends.bindMemory(to: CInt.self).baseAddress)
    }
    guard result == 0 else { throw Errno(rawValue: errno) }
    command = FileDescriptor(rawValue: ends.0)
    daemon = FileDescriptor(rawValue: ends.1)
  }

  /// Says that the daemon is ready, after leaving the terminal to the command: standard input, output and error
  /// go to /dev/null, so that whoever waits for their end need not wait for the daemon's. False where the command has
  /// ended without hearing it.
  public func signal() -> Bool {
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

  /// Waits for ``signal()`` in the parent, for at most `seconds`. False where the daemon ended without it or
  /// did not say so in time: poll(2). Until then a signal ends the process as ever; from then on it must end well, and
  /// signals are blocked.
  public func wait(seconds: Int32) -> Bool {
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

/// A process that goes on in the background.
public enum ForkedProcess {
  /// Splits the process and returns the new one's id: fork(2). The new one goes on with `body`, ends with what that returns,
  /// and has ``Signals/block()`` behind it. No thread may have been started.
  ///
  /// `body` has a thread of its own. Swift's locks tell threads by a number that each remembers, and the first thread of the
  /// new process would remember the old one's: who waited for a lock that it holds would wait for ever, the kernel not knowing
  /// for whom (futex(2) with FUTEX_LOCK_PI; Swift 6.3).
  public static func start(_ body: @escaping @Sendable () -> Int32) throws(Errno) -> Int32 {
    let id = stmount_fork()
    if id < 0 { throw Errno(rawValue: errno) }
    if id > 0 { return id }
    Signals.block()
    let thread = WorkerThread { exit(body()) }
    thread?.join()
    // There was no thread to be had. Whoever serves needs more of them, and says so.
    exit(body())
  }

  /// Goes into a session of its own, with `/` as its working directory: setsid(2), chdir(2).
  ///
  /// Not before the file system is mounted: an automounter knows the processes that may pass its trigger by their process
  /// group, and would wait for this one otherwise, which waits for it: autofs(5).
  public static func leaveTerminal() {
    setsid()
    _ = unsafe chdir("/")
  }

  /// Waits for a child's end: waitpid(2). Its exit status, or 128 and the number of the signal that ended it; nil where it
  /// does not end within two seconds, as one that waits for a disk may do even after SIGKILL.
  public static func exitStatus(of child: Int32) -> Int32? {
    for _ in 0..<100 {
      var status: Int32 = 0
      if unsafe waitpid(child, &status, WNOHANG) == child {
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + (status & 0x7F)
      }
      usleep(20_000)
    }
    return nil
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
