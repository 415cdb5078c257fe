package import SystemPackage

extension [UInt8] {
  /// `count` bytes, all of which `body` writes; they are not set to zero first. Rethrows the error of `body`.
  package init(
    filling count: Int, _ body: (inout MutableRawSpan) throws(Errno) -> Void
  ) throws(Errno) {
    var failure: Errno?
    self = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      var target = unsafe MutableRawSpan(
        _unsafeBytes: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
      do throws(Errno) {
        try body(&target)
        initialized = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }
}
