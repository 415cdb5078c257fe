internal import CFuse
internal import Glibc

/// The part of a directory's listing for one readdir request.
@safe package struct DirectoryBuffer: ~Copyable {
  private let request: fuse_req_t
  private let memory: UnsafeMutableRawBufferPointer
  private var used = 0
  /// True for readdirplus, which gives each entry's attributes too and so saves a lookup for each.
  private let withAttributes: Bool

  /// An empty listing of at most `size` bytes for the request, which must not be answered while this buffer exists.
  @unsafe init(for request: fuse_req_t, size: Int, withAttributes: Bool) {
    unsafe self.request = request
    unsafe memory = .allocate(byteCount: size, alignment: 8)
    self.withAttributes = withAttributes
  }

  deinit { unsafe memory.deallocate() }

  /// The entries so far, in the kernel's format.
  var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let bytes = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: memory[..<used]))
      return unsafe _overrideLifetime(bytes, borrowing: self)
    }
  }

  /// Adds an entry; false, with nothing added, if it does not fit.
  ///
  /// - Parameters:
  ///   - name: at most 255 bytes, without `/` and NUL.
  ///   - next: the position at which a listing continues after this entry; never 0.
  package mutating func append(_ name: Span<UInt8>, _ attributes: Attributes, next: UInt64) -> Bool {
    let request = unsafe self.request
    let free = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[used...])
    let withAttributes = withAttributes
    // fuse_add_direntry wants a terminated string; components of a path have at most NAME_MAX bytes.
    let length = min(name.count, 255)
    let needed = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: length + 1) { terminated in
      for index in 0..<length { unsafe terminated[index] = CChar(truncatingIfNeeded: name[index]) }
      unsafe terminated[length] = 0
      let target = unsafe free.baseAddress?.assumingMemoryBound(to: CChar.self)
      if withAttributes {
        var entry = fuse_entry_param(attributes)
        return unsafe fuse_add_direntry_plus(
          request, target, free.count, terminated.baseAddress, &entry, off_t(clamping: next))
      }
      var status = stat(attributes)
      return unsafe fuse_add_direntry(
        request, target, free.count, terminated.baseAddress, &status, off_t(clamping: next))
    }
    guard needed <= free.count else { return false }
    used += needed
    return true
  }
}
