internal import Glibc

/// A part of a file in memory of this process, or on its way there. It begins at a page, and ends at one or at the file's end.
@safe final class Piece: @unchecked Sendable {
  /// In bytes. Direct reads begin and end at its multiples on every file system.
  static let pageSize = UInt64(getpagesize())

  /// Bytes of the file.
  let range: Range<UInt64>
  /// Room for them and for what a page has after the file's end. One thread writes to it until ``arrival`` has happened, and nobody
  /// afterwards. The system gives pages of it only as they are written to.
  let memory: UnsafeMutableRawBufferPointer
  /// Whether all bytes have come.
  let arrival = Arrival()

  /// The pages of a file of `size` bytes that hold some bytes, of which there is one at least. Nil without memory for them.
  init?(_ range: Range<UInt64>, size: UInt64) {
    let pages = Self.pages(range)
    self.range = pages.lowerBound..<max(range.upperBound, min(pages.upperBound, size))
    var start: UnsafeMutableRawPointer?
    guard unsafe posix_memalign(&start, Int(Self.pageSize), pages.count) == 0 else { return nil }
    unsafe memory = UnsafeMutableRawBufferPointer(start: start, count: pages.count)
  }

  deinit { unsafe free(memory.baseAddress) }

  /// A range rounded out to pages. No file has bytes in the last page of what 64 bits can count.
  static func pages(_ range: Range<UInt64>) -> Range<UInt64> {
    range.lowerBound / pageSize * pageSize..<(range.upperBound + pageSize - 1) / pageSize * pageSize
  }

  /// Copies bytes `part` of the file, which have come, to the beginning of `target`.
  func copy(_ part: Range<UInt64>, to target: UnsafeMutableRawBufferPointer) {
    let start = Int(part.lowerBound - range.lowerBound)
    unsafe target.copyMemory(
      from: UnsafeRawBufferPointer(rebasing: memory[start..<start + part.count]))
  }
}
