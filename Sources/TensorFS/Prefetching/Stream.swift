internal import Linux

/// How much is read ahead of a reader. docs/internals/read-path.md has the measurements.
struct Window {
  /// How many times what has been read in a row.
  let growth: UInt64
  /// The least and the most, in bytes.
  let smallest: UInt64
  let largest: UInt64
  /// How far it may pass the end of the tensor that is read, in bytes: what comes after that may be another reader's, and read already.
  let beyond: UInt64
  /// In how many steps a window is used up: more is read ahead after each of them.
  let steps: UInt64
  /// True where each request takes long. Then a first read of ``trustedRead`` bytes at the beginning of a tensor is taken for the
  /// beginning of a stream, and not only the second one; and what is read ahead ends at round offsets, so that requests are few.
  let isRemote: Bool

  /// The kernel's own read-ahead begins with so many bytes for whoever reads in large pieces, and with less for others.
  static let trustedRead: UInt64 = 128 << 10
  /// The least window of a stream that began with such a read, in bytes: more than FUSE has under way as a rule. The reader can go on
  /// only when the attributes were asked for too.
  static let trustedWindow: UInt64 = 16 << 20

  /// For files on a disk.
  static let disk = Window(
    growth: 2, smallest: 0, largest: 16 << 20, beyond: 16 << 20, steps: 2, isRemote: false)

  /// Where a request takes long, and a large one hardly longer than a small one.
  static func remote(largest: UInt64) -> Window {
    Window(growth: 4, smallest: 512 << 10, largest: largest, beyond: largest / 2, steps: 8, isRemote: true)
  }

  /// Where a window that would end at `offset` ends.
  func end(_ offset: UInt64, of window: UInt64) -> UInt64 {
    guard isRemote else { return offset }
    let unit: UInt64 = window >= 8 << 20 ? 1 << 20 : 128 << 10
    return offset / unit * unit
  }
}

/// Reads that follow each other in a file.
struct Stream {
  /// How far requests of one stream may overtake each other: the kernel sends several at once.
  private static let reorderTolerance: UInt64 = 2 << 20

  /// The file's descriptor.
  private let file: CInt
  /// Where the first read began.
  private let start: UInt64
  /// Where the last read ended.
  private var end: UInt64
  /// The number of bytes read sequentially up to there.
  private var streamed: UInt64
  /// The offset up to which the file was read, or will be prefetched.
  private var fetched: UInt64
  /// True if it began with a read that says so alone; see ``Window/isRemote``.
  private var isTrusted = false
  /// The number of its last read among those of all streams; nil while there was but one.
  fileprivate(set) var lastRead: Int?

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

  /// Records the next read, and returns the range to prefetch: the missing part of a window, which grows with the
  /// stream, so that a reader who stops has cost little.
  ///
  /// `tensor` is the part of the file that holds the read. The window ends there, unless the reader has come from one
  /// tensor into another already: then at the end of the file, which has `size` bytes, or ``Window/beyond`` the tensor.
  mutating func next(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, size: UInt64, _ window: Window = .disk
  ) -> Range<UInt64> {
    end = max(end, range.upperBound)
    streamed += range.upperBound - range.lowerBound
    return ahead(of: tensor, size: size, window)
  }

  /// What to read ahead after a first read that says that others follow.
  fileprivate mutating func trusted(of tensor: Range<UInt64>, size: UInt64, _ rule: Window) -> Range<UInt64> {
    isTrusted = true
    return ahead(of: tensor, size: size, rule)
  }

  /// What to read ahead after the last read.
  fileprivate mutating func ahead(of tensor: Range<UInt64>, size: UInt64, _ rule: Window) -> Range<UInt64> {
    fetched = max(fetched, end)
    // No file has a quarter of what 64 bits can count.
    let smallest = isTrusted ? Window.trustedWindow : rule.smallest
    let window = min(max(rule.growth * streamed, smallest), rule.largest)
    // In large steps: only once a part of the window has been used up.
    guard end + window - window / rule.steps > fetched else { return end..<end }
    let limit = start < tensor.lowerBound ? min(size, tensor.upperBound + rule.beyond) : tensor.upperBound
    let target = min(rule.end(end + window, of: window), limit)
    guard fetched < target else { return end..<end }
    defer { fetched = target }
    return fetched..<target
  }
}

/// The streams of concurrent readers.
struct Streams {
  /// The maximum number of streams.
  private static let most = 64

  /// The most recently continued stream is the last.
  private var streams: [Stream] = []
  /// How many reads there have been.
  private var reads = 0

  /// How many streams are read at the moment: that have gone on, and not long ago.
  var active: Int {
    streams.count { $0.lastRead.map { reads - $0 < Self.most } == true }
  }

  /// What to read ahead after a read, if it goes on with a stream; see ``Stream/next(_:of:size:_:)``.
  mutating func next(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, in file: CInt, size: UInt64, _ window: Window = .disk
  ) -> Range<UInt64> {
    reads += 1
    guard let index = streams.lastIndex(where: { $0.goesOn(with: range, in: file) }) else {
      if streams.count == Self.most { streams.removeFirst() }
      var stream = Stream(range, in: file)
      defer { streams.append(stream) }
      guard window.isRemote, range.lowerBound == tensor.lowerBound, range.count >= Window.trustedRead
      else { return range.upperBound..<range.upperBound }
      stream.lastRead = reads
      return stream.trusted(of: tensor, size: size, window)
    }
    var stream = streams.remove(at: index)
    defer { streams.append(stream) }
    stream.lastRead = reads
    return stream.next(range, of: tensor, size: size, window)
  }
}
