internal import Linux

/// How much to read ahead of a sequential reader. docs/internals/read-path.md has the measurements.
struct Window {
  /// The window is this multiple of what has been read sequentially.
  let growth: UInt64
  /// The minimum and maximum window, in bytes.
  let smallest: UInt64
  let largest: UInt64
  /// How far to read past the end of the tensor, in bytes. Another reader may have read what is there.
  let beyond: UInt64
  /// True if requests are slow. A first read of ``trustedRead`` bytes at the beginning of a tensor then
  /// begins a stream, and the window ends at round offsets, so that requests are few.
  let isRemote: Bool

  /// In bytes. The kernel starts its own read-ahead with so much for programs that read in large pieces.
  static let trustedRead: UInt64 = 128 << 10
  /// The minimum window of a stream that began with such a read, in bytes. It exceeds what FUSE normally has
  /// in flight, since a reader can only continue after a check of the file's attributes.
  static let trustedWindow: UInt64 = 32 << 20

  /// For files on a disk.
  static let disk = Window(
    growth: 2, smallest: 0, largest: 16 << 20, beyond: 16 << 20, isRemote: false)

  /// For files where a request is slow, and a large one hardly slower than a small one.
  static func remote(largest: UInt64, growth: UInt64) -> Window {
    Window(growth: growth, smallest: 512 << 10, largest: largest, beyond: largest / 2, isRemote: true)
  }

  /// Rounds the end of a window, if the file is remote.
  func end(_ offset: UInt64, of window: UInt64) -> UInt64 {
    guard isRemote else { return offset }
    let unit: UInt64 = window >= 4 << 20 ? 1 << 20 : 128 << 10
    return offset / unit * unit
  }

  /// How much of a window is used up before more is read ahead. Where requests take long, they are large.
  func step(of window: UInt64) -> UInt64 {
    isRemote ? min(max(window / 8, 1 << 20), window / 2) : window / 2
  }
}

/// A sequence of reads that follow each other in a file.
struct Stream {
  /// How far requests of one stream may arrive out of order, in bytes: the kernel sends several at a time.
  private static let reorderTolerance: UInt64 = 2 << 20

  /// The file's descriptor.
  private let file: CInt
  /// The beginning of the first read.
  fileprivate let start: UInt64
  /// The end of the last read.
  private var end: UInt64
  /// The number of bytes read sequentially.
  private var streamed: UInt64
  /// The end of what was read or requested.
  private var fetched: UInt64
  /// True if the first read alone began the stream; see ``Window/isRemote``.
  private var isTrusted = false
  /// The number of the stream's last read, counted over all streams; nil after its first read.
  fileprivate(set) var lastRead: Int?

  /// Begins a stream with its first read.
  init(_ range: Range<UInt64>, in file: CInt) {
    self.file = file
    start = range.lowerBound
    end = range.upperBound
    streamed = range.upperBound - range.lowerBound
    fetched = range.upperBound
  }

  /// True if a read belongs to this stream: it begins where the last one ended. Once a stream is long enough,
  /// the kernel's requests may also arrive early or late.
  func goesOn(with range: Range<UInt64>, in file: CInt) -> Bool {
    guard file == self.file else { return false }
    let isNear =
      streamed >= Self.reorderTolerance && range.lowerBound < end + Self.reorderTolerance
      && range.upperBound + Self.reorderTolerance > end
    return range.lowerBound == end || isNear
  }

  /// Records the next read, and returns the range to prefetch: the missing part of the window. The window
  /// grows with the stream, so that a reader who stops early has cost little.
  ///
  /// `tensor` contains the read, and the window ends with it. If the reader has come from another tensor, the
  /// window may end ``Window/beyond`` bytes later, but not after the file, which has `size` bytes.
  mutating func next(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, size: UInt64, _ window: Window = .disk
  ) -> Range<UInt64> {
    end = max(end, range.upperBound)
    streamed += range.upperBound - range.lowerBound
    return ahead(of: tensor, size: size, window)
  }

  /// Returns the range to prefetch after a first read that alone begins a stream.
  fileprivate mutating func trusted(of tensor: Range<UInt64>, size: UInt64, _ rule: Window) -> Range<UInt64> {
    isTrusted = true
    return ahead(of: tensor, size: size, rule)
  }

  /// Returns the range to prefetch after the latest read.
  fileprivate mutating func ahead(of tensor: Range<UInt64>, size: UInt64, _ rule: Window) -> Range<UInt64> {
    fetched = max(fetched, end)
    // Cannot overflow: no file is larger than 63 bits can count.
    let smallest = isTrusted ? Window.trustedWindow : rule.smallest
    let window = min(max(rule.growth * streamed, smallest), rule.largest)
    // Request in large steps: only when a part of the window has been used up.
    guard end + window - rule.step(of: window) > fetched else { return end..<end }
    let limit = start < tensor.lowerBound ? size : tensor.upperBound
    let target = min(rule.end(min(end + window, tensor.upperBound + rule.beyond), of: window), limit)
    guard fetched < target else { return end..<end }
    defer { fetched = target }
    return fetched..<target
  }
}

/// The streams of concurrent readers.
struct Streams {
  /// The maximum number of streams.
  private static let most = 64

  /// The most recently continued stream is last.
  private var streams: [Stream] = []
  /// The number of reads so far.
  private var reads = 0

  /// The number of active streams: those with a recent second or later read.
  var active: Int {
    streams.count { $0.lastRead.map { reads - $0 < Self.most } == true }
  }

  /// The beginning of the stream that the latest read belongs to.
  var latestStart: UInt64 { streams.last?.start ?? 0 }

  /// Records a read, and returns the range to prefetch if it continues a stream; see
  /// ``Stream/next(_:of:size:_:)``.
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
