import Glibc
import Testing

@testable import Linux

/// Writes to standard error without a buffer, a number of times. False if a write would block.
@discardableResult
private func writeError(_ text: String) -> Bool {
  var rest = Array(text.utf8)[...]
  while !rest.isEmpty {
    let written = unsafe rest.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
    if written < 0 { return false }
    rest = rest.dropFirst(written)
  }
  return true
}

/// Runs a shell command, and returns its exit status.
private func shell(_ command: String) -> Int32 {
  var child = pid_t()
  let words = ["sh", "-c", command]
  var arguments = unsafe words.map { word in unsafe strdup(word) } + [nil]
  defer { unsafe arguments.forEach { unsafe free($0) } }
  let result = unsafe posix_spawn(&child, "/bin/sh", nil, nil, &arguments, environ)
  var status: Int32 = -1
  guard result == 0, unsafe waitpid(child, &status, 0) == child else { return -1 }
  return status
}

/// These tests run in processes of their own, because a file descriptor belongs to the whole process.
@Suite("Capturing standard error") struct StandardErrorTests {
  @Test("The output of the closure and its children is returned as one line, with the result")
  func captures() async {
    await #expect(processExitsWith: .success) {
      let (result, messages) = capturingStandardError {
        writeError("first\nsecond \n")
        let status = shell("echo third >&2")
        writeError("\n\nfourth")
        return status
      }
      #expect(result == 0)
      #expect(messages == "first; second ; third; fourth")
    }
  }

  @Test("No output is empty text")
  func nothing() async {
    await #expect(processExitsWith: .success) {
      #expect(capturingStandardError { 7 } == (7, ""))
    }
  }

  @Test("The captured line has no control characters")
  func controls() async {
    await #expect(processExitsWith: .success) {
      let messages = capturingStandardError { writeError("a\u{1B}[31mb\u{7}\tc\u{9B}é\r\nd") }.messages
      #expect(messages == "a[31mbcé; d")
    }
  }

  @Test("Up to 64 KiB of output is complete, in pieces of any size")
  func capacity() async {
    await #expect(processExitsWith: .success) {
      let (isComplete, messages) = capturingStandardError {
        (0..<65_536).allSatisfy { _ in writeError("x") }
      }
      #expect(isComplete)
      #expect(messages == String(repeating: "x", count: 65_536))
    }
  }

  @Test("A program that writes more than 64 KiB is not blocked")
  func overflow() async {
    await #expect(processExitsWith: .success) {
      let (isComplete, messages) = capturingStandardError {
        writeError(String(repeating: "x", count: 300_000))
      }
      #expect(!isComplete)
      #expect(messages == String(repeating: "x", count: 65_536))
    }
  }

  @Test("Standard error is restored afterwards, and the captured text did not reach it")
  func restores() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      writeError("<before>")
      _ = capturingStandardError { writeError("<inside>") }
      writeError("<after>")
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("<before><after>"))
    #expect(!text.contains("<inside>"))
  }

  @Test("A child that outlives the call does not delay it")
  func outlived() async {
    await #expect(processExitsWith: .success) {
      let messages = capturingStandardError { shell("sleep 1000 & echo $! >&2") }.messages
      let sleeper = try #require(pid_t(messages))
      // The descriptor still works.
      #expect(kill(sleeper, SIGKILL) == 0)
    }
  }

  @Test("If standard error was closed, it is closed again, and no descriptor leaks")
  func closed() async {
    await #expect(processExitsWith: .success) {
      func lowestFree() -> [CInt] {
        let descriptors = (0..<8).map { _ in dup(STDOUT_FILENO) }
        for descriptor in descriptors { close(descriptor) }
        return descriptors
      }
      // Another thread may open a file at that moment, and get the number of standard error. That does not happen every time.
      let isClean = (0..<100).contains { _ in
        close(STDERR_FILENO)
        let free = lowestFree()
        let messages = capturingStandardError { writeError("inside") }.messages
        return messages == "inside" && fcntl(STDERR_FILENO, F_GETFD) == -1 && lowestFree() == free
      }
      #expect(isClean)
    }
  }
}
