internal import Glibc
package import Linux
internal import Synchronization
package import SystemPackage

/// A regular file, opened and mapped once, that detects changes since opening.
///
/// The object holds the descriptor, so renaming or deleting the file has no effect. ``isUnchanged()`` detects that it was
/// truncated or rewritten.
package final class SourceFile: Sendable {
  /// The path it was opened by.
  package let path: FilePath
  /// Its status when it was opened: stat(2).
  package let status: Stat
  /// The descriptor it is held by, open for reading.
  package let descriptor: FileDescriptor

  /// Where each request to the file's store takes long, the largest that the kernel makes of it, in bytes; nil on a disk.
  package let requestSize: UInt64?

  /// What reads the file instead of pread(2); see ``read(by:)``.
  private let store = Mutex<RemoteStore?>(nil)

  private let changes: ChangeDetector
  /// Nil if the file is empty or cannot be mapped.
  private let mapping: SourceMapping?

  /// The file's size in bytes when it was opened.
  package var size: UInt64 { UInt64(status.size) }

  /// Opens and maps a regular file. Anything else is refused without being opened: open(2), fstat(2), mmap(2).
  package convenience init(opening path: FilePath) throws(ModelError) {
    try self.init(adopting: FileDescriptor.openRegularFile(path), openedBy: path)
  }

  /// Takes over a descriptor that is open for reading, and maps its file if `isMapped`; closes it where that fails.
  init(adopting descriptor: FileDescriptor, openedBy path: FilePath, isMapped: Bool = true) throws(ModelError)
  {
    let status = try ModelError.translating("open", path) {
      do {
        let status = try Stat(descriptor)
        guard status.type == .regular else { throw ModelError(.noSource, path, status.type.refusal) }
        return status
      } catch {
        try? descriptor.close()
        throw error
      }
    }
    self.path = path
    self.descriptor = descriptor
    self.status = status
    requestSize = RemoteFiles.requestSize(of: descriptor, on: status.deviceID)
    // What is needed is announced, and what comes after it is prefetched by whoever knows where a tensor ends.
    if requestSize != nil { RemoteFiles.stopReadAhead(of: descriptor) }
    changes = ChangeDetector(descriptor, status, isRemote: requestSize != nil)
    mapping = isMapped ? SourceMapping(descriptor, count: Int(status.size)) : nil
  }

  deinit { try? descriptor.close() }

  /// Bytes `range` of the file, for handing to the kernel only: once the file is truncated, touching them
  /// raises SIGBUS, while the kernel answers EFAULT (mmap(2)). Nil if `range` passes the size at opening, and where
  /// the file is empty or cannot be mapped.
  @_lifetime(borrow self)
  package func mappedBytes(_ range: Range<UInt64>) -> RawSpan? {
    guard range.upperBound <= size, let mapping else { return nil }
    let bytes = unsafe RawSpan(_unsafeStart: mapping.start + Int(range.lowerBound), byteCount: range.count)
    return unsafe _overrideLifetime(bytes, borrowing: self)
  }

  /// Reads `count` bytes from `offset` into memory of their own: pread(2), which no truncation can turn into a
  /// signal. Throws ESTALE where the file ends before that.
  package func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try [UInt8](filling: count) { target throws(Errno) in try read(from: offset, into: &target) }
  }

  /// Reads as many bytes as `target` has from `offset`: pread(2), as ``read(from:count:)``.
  ///
  /// True if a store has said after the bytes had come that the file is unchanged, so that nobody need ask ``isUnchanged()``.
  @discardableResult
  package func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) -> Bool {
    let range = offset..<offset + UInt64(target.byteCount)
    let store = store.withLock { $0 }
    if store == nil { announce([range]) }
    return try unsafe target.withUnsafeMutableBytes { buffer throws(Errno) in
      guard let store else {
        try unsafe fill(buffer, from: offset)
        return false
      }
      if isInMemory(range), let mapped = mappedBytes(range), unsafe CachedPages.copy(mapped, to: buffer) {
        return false
      }
      let status = try unsafe store.read(from: offset, of: descriptor, into: buffer)
      return status.map { changes.check($0) == .unchanged } ?? false
    }
  }

  /// Has what is not in the page cache read by a store that knows the file, and what is announced fetched by it.
  package func read(by store: RemoteStore) { self.store.withLock { $0 = store } }

  /// True if reading bytes sends no request to a store: on a disk always.
  package func isInMemory(_ range: Range<UInt64>) -> Bool {
    requestSize == nil || CachedPages.hold(range, of: descriptor) == true
  }

  /// Has the kernel fetch what will be read, in as many requests at a time as the store takes, where each of them takes long.
  package func announce(_ ranges: [Range<UInt64>]) {
    guard let requestSize else { return }
    if let store = store.withLock({ $0 }) {
      for range in ranges { store.fetch(range, of: descriptor) }
      return
    }
    for range in ranges { CachedPages.announce(range, of: descriptor, inPiecesOf: requestSize) }
  }

  private func fill(_ buffer: UnsafeMutableRawBufferPointer, from offset: UInt64) throws(Errno) {
    var filled = 0
    while filled < buffer.count {
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
      let got: Int
      do {
        got = try unsafe descriptor.read(fromAbsoluteOffset: Int64(offset) + Int64(filled), into: rest)
      } catch {
        throw error as? Errno ?? .ioError
      }
      guard got > 0 else { throw .staleNFSFileHandle }
      filled += got
    }
  }

  // MARK: Changes

  /// True if this is the file of which stat(2) has said `earlier`, with the same size and modification time.
  package func isOpenedAs(_ earlier: Stat) -> Bool {
    status.deviceID == earlier.deviceID && status.inode == earlier.inode && status.size == earlier.size
      && status.st_mtim.isEqual(earlier.st_mtim)
  }

  /// What is known of the contents.
  package enum Verdict: Sendable, Equatable {
    /// They are what they were when the file was opened.
    case unchanged
    /// They are not, or may not be; so it stays.
    case changed(Change)
    /// The file cannot be asked at the moment.
    case unknown(Errno)

    /// The change, if there was one.
    var change: Change? {
      if case .changed(let change) = self { change } else { nil }
    }
  }

  /// Why a file counts as changed.
  package enum Change: Sendable {
    /// It was written to, or nothing else explains its change time.
    case contents
    /// Its change time differs, and inotify(7) has lost events that could explain it.
    case unknown
  }

  /// Whether the contents are what they were when the file was opened.
  ///
  /// One fstat(2) where nothing has happened. A size or modification time that differs is a change. Where the change time
  /// differs alone, the file's watch decides, if it has one: nothing that inotify(7) did not report as a write was one.
  /// Without a watch a change time is harmless where a new path or number of links, chmod or chown explain it.
  package func verdict() -> Verdict { changes.check() }

  /// True if the contents are known to be what they were when the file was opened.
  package func isUnchanged() -> Bool { verdict() == .unchanged }

  /// Has what inotify(7) reports decide from now on whether the contents have changed.
  ///
  /// False, and nothing is done, where the file system does not report all writes. Throws ENOSPC where there is no watch
  /// left.
  package func watch(by source: SourceWatch) throws(Errno) -> Bool {
    // Such a file system is known already, and asking it again takes a request for each shard.
    if requestSize != nil { return false }
    return try watch(by: source, FileSystemKind(of: descriptor, nanoseconds: status.st_ctim.tv_nsec))
  }

  /// As ``watch(by:)``, for a file system of that kind.
  func watch(by source: SourceWatch, _ kind: FileSystemKind) throws(Errno) -> Bool {
    // Not requestSize: a cluster file system has a block device, too, and other machines write to it.
    guard kind.reports != .some else { return false }
    try changes.begin(with: source, kind)
    return true
  }
}
