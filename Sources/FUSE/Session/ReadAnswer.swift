package import SystemPackage

/// What a read is answered with: what a file system's handler returns, and the session sends.
///
/// Nothing has been read yet where it is made. The session knows which of the bytes may have to come from a disk first, and
/// sees to it that other requests are received meanwhile.
package enum ReadAnswer: Sendable {
  /// Bytes in memory.
  case bytes(ArraySlice<UInt8>)
  /// Bytes of a source as they are.
  case source(any ReplySource, Range<UInt64>)
  /// `count` bytes that `fill` writes. It reads the sources, mostly what is listed of their files.
  case computed(
    count: Int, from: [any ReplySource], reading: [(file: FileDescriptor, range: Range<UInt64>)],
    fill: @Sendable (inout MutableRawSpan) throws(Errno) -> Void)

  /// How many bytes it has.
  var count: Int {
    switch self {
    case .bytes(let bytes): bytes.count
    case .source(_, let range): range.count
    case .computed(let count, _, _, _): count
    }
  }
}

/// A file that answers come from, which somebody may change meanwhile.
package protocol ReplySource: Sendable {
  /// Open for reading.
  var descriptor: FileDescriptor { get }

  /// Bytes of the file's mapping, for the kernel alone to touch: where the file was truncated that is EFAULT for the kernel and
  /// SIGBUS for everybody else. Nil where the file cannot be mapped.
  @_lifetime(borrow self)
  func mappedBytes(_ range: Range<UInt64>) -> RawSpan?

  /// Reads as many bytes as `target` has: pread(2). Throws ESTALE where the file ends before that.
  func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno)

  /// False where the file is not what it was any more. The session asks between taking bytes and sending them, and where the
  /// kernel took them itself once more after that; the implementation sees to what the kernel has cached.
  func isUnchanged() -> Bool

  /// Hears that the file could not be read.
  func failed(_ error: Errno)
}
