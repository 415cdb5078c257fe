import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import Linux

/// Waits until a child ends. Returns its exit status, or nil if a signal ended it.
private func exitStatus(of child: Int32) -> Int32? {
  var status: Int32 = 0
  guard unsafe waitpid(child, &status, 0) == child, status & 0x7F == 0 else { return nil }
  return status >> 8 & 0xFF
}

/// These tests fork in processes of their own, as the command does when it goes to the background.
@Suite("Running in the background") struct ReadinessTests {
  @Test("The command waits until the daemon is ready")
  func ready() async {
    await #expect(processExitsWith: .success) {
      let readiness = try Readiness()
      let child = try ForkedProcess.start {
        _ = readiness.signal()
        // The child keeps running: the byte counts, not the end of the process.
        while true { pause() }
      }
      #expect(readiness.wait(seconds: 1000))
      kill(child, SIGKILL)
      #expect(exitStatus(of: child) == nil)
    }
  }

  @Test("A daemon that ends without a report is detected at once")
  func dies() async {
    await #expect(processExitsWith: .success) {
      let readiness = try Readiness()
      let child = try ForkedProcess.start { 3 }
      let started = ContinuousClock.now
      #expect(!readiness.wait(seconds: 1000))
      #expect(ContinuousClock.now - started < .seconds(900))
      #expect(exitStatus(of: child) == 3)
    }
  }

  @Test("A daemon that reports nothing times out")
  func timesOut() async {
    await #expect(processExitsWith: .success) {
      let readiness = try Readiness()
      let child = try ForkedProcess.start { while true { pause() } }
      let started = ContinuousClock.now
      #expect(!readiness.wait(seconds: 1))
      #expect(ContinuousClock.now - started >= .milliseconds(990))
      kill(child, SIGKILL)
      #expect(exitStatus(of: child) == nil)
    }
  }

  @Test("A ready daemon has released the terminal: its standard streams are /dev/null")
  func letsGo() async {
    await #expect(processExitsWith: .success) {
      let readiness = try Readiness()
      let child = try ForkedProcess.start {
        _ = readiness.signal()
        var null = stat()
        var isNull = unsafe stat("/dev/null", &null) == 0
        for descriptor: Int32 in 0...2 {
          var status = stat()
          isNull = unsafe fstat(descriptor, &status) == 0 && status.st_rdev == null.st_rdev && isNull
        }
        return isNull ? 42 : 1
      }
      #expect(readiness.wait(seconds: 1000))
      #expect(exitStatus(of: child) == 42)
    }
  }

  @Test("A daemon has its own session and keeps no directory busy")
  func session() async {
    await #expect(processExitsWith: .success) {
      let child = try ForkedProcess.start {
        ForkedProcess.leaveTerminal()
        var path = [CChar](repeating: 0, count: 2)
        let isAtRoot = unsafe getcwd(&path, path.count) != nil && path == [0x2F, 0]
        return getsid(0) == getpid() && isAtRoot ? 42 : 1
      }
      #expect(exitStatus(of: child) == 42)
    }
  }

  @Test("The daemon's first thread and its other threads can take each other's locks")
  func locks() async {
    await #expect(processExitsWith: .success) {
      let count = Mutex(0)
      @Sendable func increase() { for _ in 0..<200_000 { count.withLock { $0 += 1 } } }
      count.withLock { $0 = 0 }
      let child = try ForkedProcess.start {
        let thread = WorkerThread(running: increase)
        increase()
        thread?.join()
        return count.withLock { $0 } == 400_000 ? 42 : 1
      }
      defer { kill(child, SIGKILL) }
      #expect(ForkedProcess.exitStatus(of: child) == 42)
    }
  }

  @Test("Closed standard streams become /dev/null, and open ones do not change")
  func closedStreams() async {
    await #expect(processExitsWith: .success) {
      // In this process, another thread may open a file meanwhile and get the number of a closed stream. A fork has
      // no such thread.
      let child = try ForkedProcess.start {
        var before = stat()
        var after = stat()
        var null = stat()
        guard unsafe fstat(STDOUT_FILENO, &before) == 0, unsafe stat("/dev/null", &null) == 0
        else { return 1 }
        close(STDIN_FILENO)
        close(STDERR_FILENO)
        StandardStreams.openClosed()
        for descriptor in [STDIN_FILENO, STDERR_FILENO] {
          var status = stat()
          guard unsafe fstat(descriptor, &status) == 0, status.st_rdev == null.st_rdev else { return 2 }
        }
        guard unsafe fstat(STDOUT_FILENO, &after) == 0, after.st_ino == before.st_ino else { return 3 }
        // Where no stream is closed, no descriptor stays open.
        let free = dup(STDOUT_FILENO)
        close(free)
        StandardStreams.openClosed()
        return dup(STDOUT_FILENO) == free ? 42 : 4
      }
      #expect(exitStatus(of: child) == 42)
    }
  }

  @Test("Programs that the daemon starts do not inherit the pipe")
  func closesOnExec() throws {
    let (reader, writer) = try makePipe()
    for end in [reader, writer] {
      #expect(fcntl(end.rawValue, F_GETFD) == FD_CLOEXEC)
      try end.close()
    }
  }
}
