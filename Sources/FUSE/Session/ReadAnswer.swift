package import SystemPackage

/// The answer to a read, which the file system's handler returns and the session sends.
///
/// Creating one reads nothing. The session knows which bytes may have to come from a disk, and lets another
/// worker receive requests in the meantime.
package enum ReadAnswer: Sendable {
  /// Bytes in memory.
  case bytes(ArraySlice<UInt8>)
  /// A range of a source, unmodified.
  case source(any ReplySource, Range<UInt64>)
  /// `count` bytes that `fill` computes. `from` lists all sources it reads, `reading` the ranges worth
  /// prefetching.
  case computed(
    count: Int, from: [any ReplySource], reading: [(source: any ReplySource, range: Range<UInt64>)],
    fill: @Sendable (inout MutableRawSpan) throws(Errno) -> Void)

  var count: Int {
    switch self {
    case .bytes(let bytes): bytes.count
    case .source(_, let range): range.count
    case .computed(let count, _, _, _): count
    }
  }
}

/// A source file of replies. It can change at any time.
package protocol ReplySource: Sendable {
  /// Open for reading.
  var descriptor: FileDescriptor { get }

  /// True if the file is on a store with slow requests. Such file systems cannot tell what is in memory, and
  /// asking may itself be a request.
  var isRemote: Bool { get }

  /// Bytes of the file's mapping. Only the kernel may access them: after a truncation it gets EFAULT, where a
  /// process would get SIGBUS. Nil if the file cannot or should not be read through the mapping.
  @_lifetime(borrow self)
  func mappedBytes(_ range: Range<UInt64>) -> RawSpan?

  /// Fills `target`: pread(2). Throws ESTALE if the file ends too early. Returns true if the file is known to
  /// be unchanged after the read.
  func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) -> Bool

  /// Prefetches a range that will be read in parts, unless it is in memory.
  func announce(_ range: Range<UInt64>)

  /// False if the file has changed. The session asks after reading the bytes and before sending them. If the
  /// kernel copied the bytes itself, the session asks once more after sending. The implementation drops the
  /// cached pages of a changed file.
  func isUnchanged() -> Bool

  /// Reports that reading the file failed.
  func failed(_ error: Errno)
}
