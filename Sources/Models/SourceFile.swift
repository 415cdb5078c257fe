internal import Glibc
internal import Linux
internal import Safetensors
internal import Synchronization
package import SystemPackage

/// A regular file, opened and mapped once, that knows when it is no longer what was opened.
///
/// The descriptor is held for as long as the object lives, so that renaming or deleting the file changes
/// nothing. Truncating or rewriting it does, and ``isUnchanged()`` tells.
package final class SourceFile: Sendable {
  /// The path it was opened by.
  package let path: FilePath
  /// Its status when it was opened: stat(2).
  package let status: Stat
  /// The descriptor it is held by, open for reading.
  package let descriptor: FileDescriptor

  private let mapping: Mapping

  /// What was last seen of the file without its contents having changed; nil, once and for all, when they may
  /// have.
  private let lastSeen: Mutex<Sighting?>

  /// The file's size in bytes when it was opened.
  package var size: UInt64 { UInt64(status.size) }

  /// Opens and maps a regular file.
  ///
  /// Anything else is refused before it is opened, so that a FIFO cannot block nor a device act; stat(2),
  /// open(2), fstat(2), mmap(2).
  package convenience init(opening path: FilePath) throws(ModelError) {
    let descriptor = try ModelError.translating("open", path) {
      let named = try Stat(path)
      guard named.type == .regular else { throw ModelError(.noSource, path, named.type.refusal) }
      // Non-blocking, should it have become a FIFO in between.
      return try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
    }
    try self.init(adopting: descriptor, openedBy: path)
  }

  /// Takes over a descriptor that is open for reading, and maps its file; closes it where that fails.
  init(adopting descriptor: FileDescriptor, openedBy path: FilePath) throws(ModelError) {
    let status = try ModelError.translating("open", path) {
      do {
        return try Stat(descriptor)
      } catch {
        try? descriptor.close()
        throw error
      }
    }
    self.path = path
    self.descriptor = descriptor
    self.status = status
    lastSeen = Mutex(Sighting(of: descriptor, status))

    var problem: ModelError?
    var mapping = Mapping.empty
    if status.type == .regular {
      do throws(Errno) {
        mapping = try Mapping(descriptor, count: Int(status.size))
      } catch {
        problem = ModelError(errno: error, path, "map")
      }
    } else {
      problem = ModelError(.noSource, path, status.type.refusal)
    }
    self.mapping = mapping
    // Everything is initialised, so that throwing runs deinit, which closes.
    if let problem { throw problem }
  }

  deinit {
    mapping.unmap()
    try? descriptor.close()
  }

  /// Bytes `range` of the file, for handing to the kernel only: once the file is truncated, touching them
  /// raises SIGBUS, while the kernel answers EFAULT (mmap(2)). Empty where `range` passes the size at opening.
  @_lifetime(borrow self)
  package func mappedBytes(_ range: Range<UInt64>) -> RawSpan {
    guard range.upperBound <= size, let start = unsafe mapping.start else { return RawSpan() }
    let bytes = unsafe RawSpan(_unsafeStart: start + Int(range.lowerBound), byteCount: range.count)
    return unsafe _overrideLifetime(bytes, borrowing: self)
  }

  /// Reads `count` bytes from `offset` into memory of their own: pread(2), which no truncation can turn into a
  /// signal. Throws ESTALE where the file ends before that.
  package func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try [UInt8](filling: count) { target throws(Errno) in try read(from: offset, into: &target) }
  }

  /// Reads as many bytes as `target` has from `offset`: pread(2), as ``read(from:count:)``.
  package func read(from offset: UInt64, into target: inout MutableRawSpan) throws(Errno) {
    try unsafe target.withUnsafeMutableBytes { buffer throws(Errno) in
      try unsafe fill(buffer, from: offset)
    }
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

  /// True while the file still is what was opened; false from the first call that finds it otherwise, for ever.
  ///
  /// One fstat(2) where nothing changed. A size or modification time that differs is a change. A change time
  /// that differs alone is harmless where renaming, deleting, linking, chmod or chown explain it; what remains
  /// is a writer that put the modification time back, and that is a change.
  package func isUnchanged() -> Bool {
    guard let now = try? Stat(descriptor) else { return false }
    return lastSeen.withLock { lastSeen in
      guard let seen = lastSeen, now.size == status.size, now.st_mtim.isEqual(status.st_mtim) else {
        lastSeen = nil
        return false
      }
      if now.st_ctim.isEqual(seen.status.st_ctim) { return true }
      let sighting = Sighting(of: descriptor, now)
      lastSeen = sighting.explainsChangeTime(since: seen) ? sighting : nil
      return lastSeen != nil
    }
  }
}

/// What can be seen of a file besides its contents, at one moment.
private struct Sighting {
  let status: Stat
  /// The path it has now, wherever it was moved; nil where /proc is not mounted.
  let path: FilePath?

  init(of descriptor: FileDescriptor, _ status: Stat) {
    self.status = status
    path = descriptor.currentPath
  }

  /// True if something other than a write can have set the change time.
  func explainsChangeTime(since earlier: Sighting) -> Bool {
    status.linkCount != earlier.status.linkCount || status.mode != earlier.status.mode
      || status.userID != earlier.status.userID || status.groupID != earlier.status.groupID
      || path != earlier.path
  }
}

extension FileDescriptor {
  /// Where the open file is now: readlink(2) of its entry in /proc/self/fd, as proc(5) describes.
  fileprivate var currentPath: FilePath? {
    let count = Int(PATH_MAX)
    let bytes = unsafe [CInterop.PlatformChar](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let start = buffer.baseAddress {
        initialized = max(0, unsafe readlink("/proc/self/fd/\(rawValue)", start, count))
      }
    }
    return bytes.isEmpty ? nil : FilePath(bytes: bytes.map { UInt8(bitPattern: $0) })
  }
}

/// A read-only mapping of a whole file. Safe to share: nothing writes to it, and its bytes are reached through
/// ``SourceFile/mappedBytes(_:)`` alone.
@safe private struct Mapping: @unchecked Sendable {
  /// The first byte; nil for an empty file, which mmap(2) refuses to map.
  let start: UnsafeRawPointer?
  private let count: Int

  static let empty = Mapping()

  private init() {
    unsafe start = nil
    count = 0
  }

  /// Maps `count` bytes: mmap(2), MAP_SHARED so that the pages are the page cache's own.
  init(_ descriptor: FileDescriptor, count: Int) throws(Errno) {
    guard count > 0 else {
      self = .empty
      return
    }
    let address = unsafe mmap(nil, count, PROT_READ, MAP_SHARED, descriptor.rawValue, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    // Pages are asked for beforehand; a fault must not read what nobody wants.
    unsafe madvise(address, count, MADV_RANDOM)
    unsafe start = UnsafeRawPointer(address)
    self.count = count
  }

  func unmap() {
    if let start = unsafe start { unsafe munmap(UnsafeMutableRawPointer(mutating: start), count) }
  }
}

extension timespec {
  fileprivate func isEqual(_ other: timespec) -> Bool {
    tv_sec == other.tv_sec && tv_nsec == other.tv_nsec
  }
}

extension FileType {
  /// Why a file of this type is no source, as a clause.
  var refusal: String {
    switch self {
    case .directory: "it is a directory, not a file"
    case .fifo: "it is a FIFO, not a regular file"
    case .socket: "it is a socket, not a regular file"
    case .characterSpecial, .blockSpecial: "it is a device, not a regular file"
    default: "it is not a regular file"
    }
  }
}
