import Fixtures
import Glibc
import SystemPackage
import Testing

/// A file that is open for reading. The object closes it when it is released.
final class OpenFile: Sendable {
  let descriptor: FileDescriptor

  /// O_DIRECT, which Glibc's module does not export.
  static let direct = FileDescriptor.OpenOptions(rawValue: __O_DIRECT)

  init(_ path: FilePath, _ options: FileDescriptor.OpenOptions = []) throws {
    descriptor = try FileDescriptor.open(path, .readOnly, options: options.union(.closeOnExec))
  }

  deinit { try? descriptor.close() }

  /// The rest of the file, through read(2) in pieces of `step` bytes.
  func bytes(step: Int = 1 << 17) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let piece = try unsafe [UInt8](unsafeUninitializedCapacity: step) { buffer, count in
        count = try unsafe descriptor.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
      if piece.isEmpty { return bytes }
      bytes += piece
    }
  }

  /// The bytes that one pread(2) returns.
  func bytes(_ count: Int, at offset: Int) throws -> [UInt8] {
    try unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      initialized = try unsafe descriptor.read(
        fromAbsoluteOffset: Int64(offset), into: UnsafeMutableRawBufferPointer(buffer))
    }
  }

  /// The bytes that one pread(2) returns into memory that is aligned to a page, as O_DIRECT requires.
  func alignedBytes(_ count: Int, at offset: Int) throws -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
    defer { unsafe buffer.deallocate() }
    let got = try unsafe descriptor.read(fromAbsoluteOffset: Int64(offset), into: buffer)
    return unsafe Array(buffer[..<got])
  }

  /// The bytes in a mapping: mmap(2) with MAP_SHARED or MAP_PRIVATE.
  func mapped(_ count: Int, _ flags: CInt) throws -> [UInt8] {
    let address = unsafe mmap(nil, count, PROT_READ, flags, descriptor.rawValue, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else { throw Errno(rawValue: errno) }
    defer { unsafe munmap(address, count) }
    return unsafe Array(UnsafeRawBufferPointer(start: address, count: count))
  }

  /// Keeps bytes of the file in the page cache until the returned object is released.
  func pinned(_ range: Range<Int>) throws -> PinnedPages { try PinnedPages(descriptor, range) }

  /// The bytes that sendfile(2) writes to a pipe.
  func sent(_ count: Int, from offset: Int) throws -> [UInt8] {
    try piped(count, from: offset) { pipe, position, count in
      unsafe sendfile(pipe, descriptor.rawValue, &position, count)
    }
  }

  /// At most 64 KiB through a pipe: splice(2), which Glibc's module lacks.
  func spliced(_ count: Int, from offset: Int) throws -> [UInt8] {
    typealias Splice =
      @convention(c) (
        CInt, UnsafeMutablePointer<off_t>?, CInt, UnsafeMutablePointer<off_t>?, Int, CUnsignedInt
      ) -> Int
    guard let symbol = unsafe dlsym(nil, "splice") else { throw Errno.noFunction }
    let splice = unsafe unsafeBitCast(symbol, to: Splice.self)
    return try piped(count, from: offset) { pipe, position, count in
      unsafe splice(descriptor.rawValue, &position, pipe, nil, count, 0)
    }
  }

  /// Calls `move` with a pipe, the position in the file and the number of bytes to move into the pipe, until it returns 0.
  private func piped(_ count: Int, from offset: Int, _ move: (CInt, inout off_t, Int) -> Int) throws
    -> [UInt8]
  {
    let pipe = try FileDescriptor.pipe()
    defer {
      try? pipe.readEnd.close()
      try? pipe.writeEnd.close()
    }
    var bytes: [UInt8] = []
    var position = off_t(offset)
    while bytes.count < count {
      // Moves at most the capacity of a pipe, since nobody reads the pipe meanwhile.
      let moved = move(pipe.writeEnd.rawValue, &position, min(count - bytes.count, 1 << 16))
      guard moved >= 0 else { throw Errno(rawValue: errno) }
      guard moved > 0 else { break }
      bytes += try unsafe [UInt8](unsafeUninitializedCapacity: moved) { buffer, initialized in
        initialized = try unsafe pipe.readEnd.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
    }
    return bytes
  }

  /// Reads the file repeatedly in parts, until a read fails, and then once more. Stops after a minute. Expects each part to be
  /// correct or EIO, and returns the number of EIO results.
  func failures(expecting expected: [UInt8], partSize: Int) throws -> Int {
    var failures = 0
    let end = ContinuousClock.now + .seconds(60)
    var isLast = false
    while !isLast {
      isLast = failures > 0 || ContinuousClock.now > end
      for offset in stride(from: 0, to: expected.count, by: partSize) {
        do {
          let bytes = try alignedBytes(partSize, at: offset)
          expectSame(bytes, expected.dropFirst(offset).prefix(partSize), "the bytes at \(offset)")
        } catch let error as Errno {
          #expect(error == .ioError)
          failures += 1
        }
      }
    }
    return failures
  }

  /// lseek(2).
  func seek(_ offset: Int64, _ origin: FileDescriptor.SeekOrigin) throws -> Int64 {
    try descriptor.seek(offset: offset, from: origin)
  }
}

extension FileDescriptor.SeekOrigin {
  /// SEEK_DATA, which Glibc's module does not export.
  static let nextData = Self(rawValue: 3)
  /// SEEK_HOLE, which Glibc's module does not export.
  static let nextHole = Self(rawValue: 4)
}
