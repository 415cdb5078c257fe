internal import Linux

/// Reads that follow each other in a file.
struct Stream {
  /// The most that is read ahead of a reader, in bytes. docs/internals/read-path.md has the measurements.
  static let largestWindow: UInt64 = 16 << 20
  /// How far requests of one stream may overtake each other: the kernel sends several at once.
  private static let reorderTolerance: UInt64 = 2 << 20

  /// The file's descriptor.
  private let file: CInt
  /// Where the first read began.
  private let start: UInt64
  /// Where the last read ended.
  private var end: UInt64
  /// How many bytes have been read in a row up to there.
  private var streamed: UInt64
  /// Up to where the file has been read, or will be ahead of the reader.
  private var fetched: UInt64

  /// Begins with one read.
  init(_ range: Range<UInt64>, in file: CInt) {
    self.file = file
    start = range.lowerBound
    end = range.upperBound
    streamed = range.upperBound - range.lowerBound
    fetched = range.upperBound
  }

  /// True if a read goes on where the last one ended, or late or early by what the kernel has in flight, once there is a
  /// stream to belong to.
  func goesOn(with range: Range<UInt64>, in file: CInt) -> Bool {
    guard file == self.file else { return false }
    let isNear =
      streamed >= Self.reorderTolerance && range.lowerBound < end + Self.reorderTolerance
      && range.upperBound + Self.reorderTolerance > end
    return range.lowerBound == end || isNear
  }

  /// Takes the next read, and tells what to read ahead after it: what is still missing of a window, which grows with the
  /// stream, so that a reader who stops has cost little.
  ///
  /// `tensor` is the part of the file that holds the read. The window ends there, unless the reader has come from one
  /// tensor into another already: then at the end of the file, which has `size` bytes.
  mutating func next(_ range: Range<UInt64>, of tensor: Range<UInt64>, size: UInt64) -> Range<UInt64> {
    end = max(end, range.upperBound)
    streamed += range.upperBound - range.lowerBound
    fetched = max(fetched, end)
    let window = min(2 * streamed, Self.largestWindow)
    // In large steps: only once half of the window has been used up.
    guard end + window / 2 > fetched else { return end..<end }
    let limit = start < tensor.lowerBound ? size : tensor.upperBound
    let target = min(end + window, limit)
    guard fetched < target else { return end..<end }
    defer { fetched = target }
    return fetched..<target
  }
}

/// The streams of many readers at a time, each of which may have its own.
struct Streams {
  /// How many are remembered.
  private static let most = 64

  /// The one that went on last is the last.
  private var streams: [Stream] = []

  /// What to read ahead after a read, if it goes on with a stream; see ``Stream/next(_:of:size:)``.
  mutating func next(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, in file: CInt, size: UInt64
  ) -> Range<UInt64> {
    guard let index = streams.lastIndex(where: { $0.goesOn(with: range, in: file) }) else {
      if streams.count == Self.most { streams.removeFirst() }
      streams.append(Stream(range, in: file))
      return range.upperBound..<range.upperBound
    }
    var stream = streams.remove(at: index)
    defer { streams.append(stream) }
    return stream.next(range, of: tensor, size: size)
  }
}
