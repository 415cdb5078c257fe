internal import Glibc
internal import SystemPackage

/// Runs `body` and returns, beside its result, what it and its children wrote to standard error, as one line
/// without control characters: the messages hold paths.
///
/// libfuse and fusermount3 report why a mount fails there and nowhere else. The text goes through a pipe that
/// blocks nobody: what does not fit into it is lost. For the time of the call this changes the whole process,
/// so no thread may run yet.
package func capturingStandardError<Result>(_ body: () -> Result) -> (result: Result, messages: String) {
  guard let (reader, writer) = try? makePipe() else { return (body(), "") }
  defer { try? reader.close() }
  for end in [reader, writer] { _ = fcntl(end.rawValue, F_SETFL, O_NONBLOCK) }

  let saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
  if saved < 0, errno != EBADF {
    // No descriptor is left to keep it by, and closed it would be the next file's.
    try? writer.close()
    return (body(), "")
  }
  dup2(writer.rawValue, STDERR_FILENO)
  try? writer.close()
  let result = body()
  if saved >= 0 {
    dup2(saved, STDERR_FILENO)
    close(saved)
  } else {
    // It was closed before, and is to be so again.
    close(STDERR_FILENO)
  }

  let capacity = 1 << 16
  let text = try? unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
    count = try unsafe reader.read(into: UnsafeMutableRawBufferPointer(buffer))
  }
  let lines = String(decoding: text ?? [], as: UTF8.self).split(whereSeparator: \.isNewline)
  var messages = lines.joined(separator: "; ")
  messages.unicodeScalars.removeAll { $0.properties.generalCategory == .control }
  return (result, messages)
}
