internal import Glibc
package import Linux
internal import Synchronization
package import SystemPackage

/// A regular file that is opened and mapped once, and that detects later changes.
///
/// It holds a descriptor, so renaming or deleting the file has no effect. ``isUnchanged()`` detects
/// truncation and rewriting.
package final class SourceFile: Sendable {
  /// The path that was opened.
  package let path: FilePath
  /// The attributes at opening: fstat(2).
  package let status: Stat
  /// Open for reading, until the object is released; -1 if the file is not held open: see ``opened()``.
  package let descriptor: FileDescriptor

  /// The kernel's largest request to the file's store, in bytes, if requests there are slow; nil on a disk.
  package let requestSize: UInt64?

  /// The store that reads the file in place of pread(2); see ``read(by:)``.
  private let store = Mutex<RemoteStore?>(nil)

  /// Opens the file again, by its number there. Nil if the file is held open.
  private let reopening: (files: Reopening, number: Int)?
  /// Nil if it is not.
  private let changes: ChangeDetector?
  /// Nil if the file is empty or cannot be mapped.
  private let mapping: SourceMapping?

  /// The size at opening, in bytes.
  package var size: UInt64 { UInt64(status.size) }

  /// Opens and maps a regular file: open(2), fstat(2), mmap(2). Refuses any other type without opening it.
  package convenience init(opening path: FilePath) throws(ModelError) {
    try self.init(adopting: FileDescriptor.openRegularFile(path), openedBy: path)
  }

  /// Takes over a descriptor that is open for reading, and maps the file if `isMapped`. Closes it on failure.
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
    // Callers announce what they need. Prefetching is for code that knows where a tensor ends.
    if requestSize != nil { RemoteFiles.stopReadAhead(of: descriptor) }
    reopening = nil
    changes = ChangeDetector(descriptor, status, isRemote: requestSize != nil)
    mapping = isMapped ? SourceMapping(descriptor, count: Int(status.size)) : nil
  }

  /// The same file as `other`, not held open: every use opens it again by its number. If it is another file then, it has changed.
  init(_ other: SourceFile, _ reopening: Reopening, _ number: Int) {
    path = other.path
    status = other.status
    requestSize = other.requestSize
    descriptor = FileDescriptor(rawValue: -1)
    self.reopening = (reopening, number)
    changes = nil
    mapping = nil
  }

  deinit { if reopening == nil { try? descriptor.close() } }

  /// The file with a descriptor, for one call: itself, or the file that was opened again. Throws ESTALE if that is another one.
  package func opened() throws(Errno) -> SourceFile {
    guard let reopening else { return self }
    return try reopening.files.file(reopening.number, openedAs: status)
  }

  /// Bytes `range` of the mapping, to be passed to the kernel only. After a truncation, touching them raises
  /// SIGBUS, while the kernel returns EFAULT (mmap(2)). Nil if `range` exceeds the size at opening, or if the
  /// file is empty or cannot be mapped.
  @_lifetime(borrow self)
  package func mappedBytes(_ range: Range<UInt64>) -> RawSpan? {
    guard range.upperBound <= size, let mapping else { return nil }
    let bytes = unsafe RawSpan(_unsafeStart: mapping.start + Int(range.lowerBound), byteCount: range.count)
    return unsafe _overrideLifetime(bytes, borrowing: self)
  }

  /// Reads `count` bytes from `offset`: pread(2), so that a truncation is no signal. Throws ESTALE if the
  /// file ends too early.
  package func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try [UInt8](filling: count) { target throws(Errno) in try read(from: offset, into: &target) }
  }

  /// Fills `target` from `offset`; otherwise like ``read(from:count:)``.
  ///
  /// Returns true if a store checked after the read that the file is unchanged, which makes ``isUnchanged()``
  /// unnecessary.
  @discardableResult
  package func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) -> Bool {
    if reopening != nil { return try opened().read(from: offset, into: &target) }
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
      return status.map { changes?.check($0) == .unchanged } ?? false
    }
  }

  /// From now on, lets a store read and prefetch what is not in the page cache.
  package func read(by store: RemoteStore) { self.store.withLock { $0 = store } }

  /// True if reading a range sends no request to a remote store. Always true on a disk.
  package func isInMemory(_ range: Range<UInt64>) -> Bool {
    requestSize == nil || CachedPages.hold(range, of: descriptor) == true
  }

  /// Prefetches ranges that will be read, with many requests in flight. Does nothing if the file is on a
  /// disk.
  package func announce(_ ranges: [Range<UInt64>]) {
    guard let requestSize, reopening == nil else { return }
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

  /// True if this is the file with the attributes `earlier`: same device and inode, size and modification
  /// time.
  package func isOpenedAs(_ earlier: Stat) -> Bool {
    status.deviceID == earlier.deviceID && status.inode == earlier.inode && status.size == earlier.size
      && status.st_mtim.isEqual(earlier.st_mtim)
  }

  /// The result of a check for changes.
  package enum Verdict: Sendable, Equatable {
    /// The contents are those at opening.
    case unchanged
    /// The contents changed, or may have. This verdict is final.
    case changed(Change)
    /// The check failed, for now.
    case unknown(Errno)

    var change: Change? {
      if case .changed(let change) = self { change } else { nil }
    }
  }

  /// Why a file counts as changed.
  package enum Change: Sendable {
    /// The file was written, or nothing else explains its change time.
    case contents
    /// The change time differs, and inotify(7) lost the events that might explain it.
    case unknown
  }

  /// Checks whether the contents are those at opening.
  ///
  /// Takes one fstat(2) if nothing happened. A different size or modification time is a change. If only the
  /// change time differs, the file's watch decides: what inotify(7) does not report as a write is none.
  /// Without a watch, a new path, link count, mode or owner explains the change time.
  package func verdict() -> Verdict {
    if let changes { return changes.check() }
    do throws(Errno) {
      return try opened().verdict()
    } catch {
      let isGone: [Errno] = [
        .staleNFSFileHandle, .noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels,
      ]
      return isGone.contains(error) ? .changed(.contents) : .unknown(error)
    }
  }

  /// True if the contents are known to be those at opening.
  package func isUnchanged() -> Bool { verdict() == .unchanged }

  /// From now on, lets inotify(7) decide whether the contents changed.
  ///
  /// Returns false, and does nothing, if the file system does not report all writes. Throws ENOSPC if no
  /// watch is left.
  package func watch(by source: SourceWatch) throws(Errno) -> Bool {
    // Remote file systems are known not to. Asking again would take a request for each shard.
    if requestSize != nil { return false }
    return try watch(by: source, FileSystemKind(of: descriptor, nanoseconds: status.st_ctim.tv_nsec))
  }

  /// Like ``watch(by:)``, for a file system of that kind.
  func watch(by source: SourceWatch, _ kind: FileSystemKind) throws(Errno) -> Bool {
    // requestSize is not enough: a cluster file system has a block device, but other machines write to it.
    guard kind.reports != .some else { return false }
    try changes?.begin(with: source, kind)
    return true
  }
}
