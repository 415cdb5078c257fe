import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Writes a file sequentially, from bytes and from parts of other files.
///
/// The kernel copies parts of 1 MiB or more at the same page offset in both files, with copy_file_range(2): it shares blocks if
/// the file system can. With `sends`, it sends other parts of 64 KiB or more, with sendfile(2). Everything else goes through
/// buffers, which turns small parts into large, aligned writes: a thread writes one buffer while the next is filled.
struct FileCopier {
  /// Why copying failed.
  enum Problem: Error {
    /// The source failed.
    case source(Errno)
    /// The target failed.
    case target(Errno)
    /// The kernel does not tell which one failed.
    case either(Errno)
  }

  /// How many bytes the kernel copies at once. Between two pieces, signals are checked and progress is shown.
  private static let pieceSize: UInt64 = 4 << 20
  /// Minimum sizes for copy_file_range(2) and for sendfile(2); below them a buffered copy is cheaper.
  private static let minimumPiece: UInt64 = 1 << 20
  private static let minimumSent: UInt64 = 64 << 10
  private static let pageSize = UInt64(getpagesize())
  /// Large enough that passing a buffer on costs nothing beside writing it, and small enough for the processor's cache.
  private static let largestBuffer = 1 << 20
  /// How many bytes of scattered elements are read at a time.
  private static let scatteredPiece = 4 << 20

  private let output: OutputFile
  private let bufferSize: Int
  private var buffer: [UInt8]
  private var filled = 0
  /// The number of bytes in the target, or queued for it.
  private var written: UInt64 = 0
  /// Nil until a buffer is full: a file that fits into one buffer needs no thread.
  private var queue: WriteQueue?
  /// The file that the kernel does not copy from.
  private var refused: FileDescriptor?
  /// The file that the kernel does not send.
  private var unsendable: FileDescriptor?
  /// The kernel sends long parts of files, and is not told to begin writing them to the disk.
  private let sends: Bool
  /// It sends them to a pipe, which holds pages of the source then.
  private let isPipe: Bool

  /// A writer of an empty file. It needs no more memory than the file, which will have at most `capacity` bytes. With `sends`, the
  /// kernel sends long parts, and the caller must call ``finish()`` at the end.
  init(to output: OutputFile, capacity: UInt64 = .max, sends: Bool = false) {
    self.output = output
    self.sends = sends
    isPipe = sends && output.descriptor.enlargePipe()
    // One byte more than the file: a small file is then written at the end, without a thread.
    bufferSize = capacity < Self.largestBuffer ? Int(capacity) + 1 : Self.largestBuffer
    buffer = [UInt8](repeating: 0, count: bufferSize)
  }

  /// How many bytes the buffer takes until it ends at a multiple of its size in the target.
  private var room: Int { bufferSize - Int(written % UInt64(bufferSize)) - filled }

  /// Writes bytes.
  mutating func append(_ bytes: some Collection<UInt8>) throws(Problem) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(room)
      buffer.replaceSubrange(filled..<filled + piece.count, with: piece)
      rest = rest.dropFirst(piece.count)
      try fill(piece.count)
    }
  }

  /// Writes the beginning of a part of a file, and returns how many bytes that were; at least one.
  mutating func append(_ range: Range<UInt64>, of source: SourceFile) throws(Problem) -> UInt64 {
    let file: SourceFile
    do throws(Errno) {
      file = try source.opened()
    } catch {
      throw .source(error)
    }
    // Twice the read-ahead, if the file is read from a disk.
    _ = posix_fadvise(
      file.descriptor.rawValue, off_t(range.lowerBound), off_t(range.count), Int32(POSIX_FADV_SEQUENTIAL))
    let isAlike = (range.lowerBound &- written &- UInt64(filled)) % Self.pageSize == 0
    if range.count >= Self.minimumPiece, isAlike, refused != file.descriptor {
      try flush()
      let count = Int(min(UInt64(range.count), Self.pieceSize))
      let copied = try Self.transfer { () throws(Errno) in
        try output.descriptor.copy(count, from: range.lowerBound, of: file.descriptor)
      }
      if let copied {
        if !sends { output.descriptor.beginWriteback(of: written..<written + copied) }
        written += copied
        return copied
      }
      refused = file.descriptor
    }
    if sends, range.count >= Self.minimumSent, unsendable != file.descriptor {
      try flush()
      let count = Int(min(UInt64(range.count), Self.pieceSize))
      let sent = try Self.transfer { () throws(Errno) in
        try output.descriptor.send(count, from: range.lowerBound, of: file.descriptor)
      }
      if let sent {
        written += sent
        return sent
      }
      unsendable = file.descriptor
    }
    return try append(upTo: range.count) { piece throws(Errno) in
      try file.read(from: range.lowerBound, into: &piece)
    }
  }

  /// Writes the beginning of a part of computed elements, and returns how many bytes that were; at least one. If they are scattered
  /// in their source, more than a buffer is read at a time, since each read brings their neighbours.
  mutating func append(
    _ range: Range<UInt64>, of elements: any ComputedElements, areScattered: Bool
  ) throws(Problem) -> UInt64 {
    guard areScattered else {
      return try append(upTo: range.count) { piece throws(Errno) in
        try elements.fill(&piece, from: range.lowerBound)
      }
    }
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try [UInt8](filling: min(range.count, Self.scatteredPiece)) { piece throws(Errno) in
        try elements.fill(&piece, from: range.lowerBound)
      }
    } catch {
      throw .source(error)
    }
    try append(bytes)
    return UInt64(bytes.count)
  }

  /// Calls `body` to fill some of `count` bytes in the buffer, and returns how many.
  private mutating func append(
    upTo count: Int, _ body: (inout MutableRawSpan) throws(Errno) -> Void
  ) throws(Problem) -> UInt64 {
    let count = min(count, room)
    do {
      try unsafe buffer.withUnsafeMutableBytes { bytes in
        // The rest of the buffer.
        var piece = unsafe MutableRawSpan(_unsafeBytes: bytes[filled..<filled + count])
        try body(&piece)
      }
    } catch {
      throw .source(error as? Errno ?? .ioError)
    }
    try fill(count)
    return UInt64(count)
  }

  /// Counts bytes in the buffer, and writes it when it ends at a multiple of its size.
  private mutating func fill(_ count: Int) throws(Problem) {
    filled += count
    guard room == 0 else { return }
    let queue = queue ?? WriteQueue(to: output, bufferSize: bufferSize, writesBack: !sends)
    self.queue = queue
    do throws(Errno) {
      buffer = try queue.write(filled, of: buffer, at: written)
    } catch {
      throw .target(error)
    }
    written += UInt64(filled)
    filled = 0
  }

  /// Writes the buffers, and waits until a pipe has been read. If the source is unchanged then, the reader got the right bytes.
  /// Call it at the end. False if the pipe's reader is gone.
  mutating func finish() throws(Problem) -> Bool {
    try flush()
    return !isPipe || output.descriptor.waitUntilRead()
  }

  /// Writes the buffers: write(2).
  mutating func flush() throws(Problem) {
    do {
      try queue?.drain()
      written += UInt64(try output.descriptor.writeAll(buffer[..<filled]))
    } catch {
      throw .target(error as? Errno ?? .ioError)
    }
    filled = 0
  }

  /// Has the kernel move bytes, and returns how many. Nil if it cannot, between these files or at all. Also nil for 0 bytes; the
  /// following read(2) reports why.
  private static func transfer(_ body: () throws(Errno) -> Int) throws(Problem) -> UInt64? {
    while true {
      do throws(Errno) {
        let count = UInt64(try body())
        return count > 0 ? count : nil
      } catch {
        switch error {
        case .interrupted: continue
        case .improperLink, .invalidArgument, .notSupported, .noFunction, .badFileDescriptor, .notPermitted,
          .overflow:
          return nil
        case .noSpace, .diskQuotaExceeded, .fileTooLarge, .brokenPipe: throw .target(error)
        default: throw .either(error)
        }
      }
    }
  }
}
