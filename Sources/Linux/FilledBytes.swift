package import SystemPackage

extension [UInt8] {
  /// `count` bytes that `body` writes, every one of them, without their being set to zero first. What `body` throws is
  /// thrown.
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
