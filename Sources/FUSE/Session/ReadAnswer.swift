package import SystemPackage

/// The answer to a read: the file system's handler returns it, and the session sends it.
///
/// Making it reads nothing. The session knows which of the bytes may have to come from a disk first, and lets other workers
/// receive requests meanwhile.
package enum ReadAnswer: Sendable {
  /// Bytes in memory.
  case bytes(ArraySlice<UInt8>)
  /// Bytes of a source as they are.
  case source(any ReplySource, Range<UInt64>)
  /// `count` bytes that `fill` writes. It reads the sources, mostly what is listed of them.
  case computed(
    count: Int, from: [any ReplySource], reading: [(source: any ReplySource, range: Range<UInt64>)],
    fill: @Sendable (inout MutableRawSpan) throws(Errno) -> Void)

  /// The number of bytes.
  var count: Int {
    switch self {
    case .bytes(let bytes): bytes.count
    case .source(_, let range): range.count
    case .computed(let count, _, _, _): count
    }
  }
}

/// A source file of answers, which can change at any time.
package protocol ReplySource: Sendable {
  /// Open for reading.
  var descriptor: FileDescriptor { get }

  /// True if the file is on a store of which every request takes long. Such file systems cannot tell what is in memory, and asking
  /// may be a request.
  var isRemote: Bool { get }

  /// Bytes of the file's mapping. Only the kernel may access them: after a truncation that is EFAULT for the kernel, and
  /// SIGBUS for a process. Nil if the file cannot be mapped, or should not be read in that way.
  @_lifetime(borrow self)
  func mappedBytes(_ range: Range<UInt64>) -> RawSpan?

  /// Fills `target`: pread(2). Throws ESTALE if the file ends before that. True if the file is known to be unchanged after that.
  func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) -> Bool

  /// Has bytes fetched that will be read in several parts, as far as they are not in memory.
  func announce(_ range: Range<UInt64>)

  /// False if the file has changed. The session asks between reading bytes and sending them, and once more afterwards if the
  /// kernel copied them itself. The implementation drops the cached pages of a changed file.
  func isUnchanged() -> Bool

  /// Reports that the file could not be read.
  func failed(_ error: Errno)
}
