internal import Glibc
internal import SystemPackage

/// Runs `body` and returns its result, and what it and its children wrote to standard error, as one line
/// without control characters, since the messages contain paths.
///
/// Only there do libfuse and fusermount3 report why a mount fails. The text goes through a non-blocking pipe:
/// text that does not fit is lost. During the call this changes the whole process, so no other thread may
/// run yet.
package func capturingStandardError<Result>(_ body: () -> Result) -> (result: Result, messages: String) {
  guard let (reader, writer) = try? makePipe() else { return (body(), "") }
  defer { try? reader.close() }
  for end in [reader, writer] { _ = fcntl(end.rawValue, F_SETFL, O_NONBLOCK) }

  let saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
  if saved < 0, errno != EBADF {
    // No descriptor is left to save it in, and a closed number would go to the next file.
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
    // It was closed before, so close it again.
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
