internal import Glibc

/// A part of a file in this process's memory, or on its way there. It begins at a page boundary, and ends at
/// one or at the end of the file.
@safe final class Piece: @unchecked Sendable {
  /// In bytes. Every file system accepts direct reads that begin and end at multiples of it.
  static let pageSize = UInt64(getpagesize())

  /// The range in the file.
  let range: Range<UInt64>
  /// Memory for all pages of the range, including what the last one has after the file's end. Before
  /// ``arrival``, one thread writes to it; afterwards, nobody does. The kernel allocates a page when it is
  /// first written.
  let memory: UnsafeMutableRawBufferPointer
  /// Happens when the read ends; the outcome is true if all bytes arrived.
  let arrival = Arrival()

  /// Makes a piece of all pages that contain bytes of `range`, which is not empty. `size` is the file's size.
  /// Nil if there is no memory.
  init?(_ range: Range<UInt64>, size: UInt64) {
    let pages = Self.pages(range)
    self.range = pages.lowerBound..<max(range.upperBound, min(pages.upperBound, size))
    var start: UnsafeMutableRawPointer?
    guard unsafe posix_memalign(&start, Int(Self.pageSize), pages.count) == 0 else { return nil }
    unsafe memory = UnsafeMutableRawBufferPointer(start: start, count: pages.count)
  }

  deinit { unsafe free(memory.baseAddress) }

  /// The range, extended to whole pages. Cannot overflow: no file reaches the last page of 64-bit offsets.
  static func pages(_ range: Range<UInt64>) -> Range<UInt64> {
    range.lowerBound / pageSize * pageSize..<(range.upperBound + pageSize - 1) / pageSize * pageSize
  }

  /// Copies bytes `part` of the file to the beginning of `target`. They must have arrived.
  func copy(_ part: Range<UInt64>, to target: UnsafeMutableRawBufferPointer) {
    let start = Int(part.lowerBound - range.lowerBound)
    unsafe target.copyMemory(
      from: UnsafeRawBufferPointer(rebasing: memory[start..<start + part.count]))
  }
}
