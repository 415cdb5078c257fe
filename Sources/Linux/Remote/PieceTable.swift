/// The pieces of a store's files that were requested and not yet consumed: at most ``limit`` bytes.
struct PieceTable {
  private enum State {
    case queued, underWay
    /// Its bytes have come, and the file's attributes are asked for.
    case read
    case arrived
  }

  private struct Entry {
    /// The descriptor that identifies the file.
    let file: CInt
    let piece: Piece
    var state = State.queued
    /// The end of the requested range, which may be before the end of the piece.
    let end: UInt64
    /// The number of requested bytes that no reader has taken yet.
    var left: Int
    /// In seconds.
    var lastUse: Double
    /// Begins a section, which is read beside what comes before it.
    let isFirst: Bool

    var isBeingFetched: Bool { state == .underWay || state == .read }
  }

  /// In sequence, the length of the sections that are read at the same time, in bytes. A connection to S3
  /// has 90 MB/s. rclone with a cache reads what is up to 16 MiB ahead of a download by that same one.
  static let section: UInt64 = 24 << 20

  /// How many pieces before its own a reader waits for, in sequence.
  private static let mostBefore = 4

  /// In bytes.
  let limit: UInt64
  /// Pieces that follow each other are fetched one after the other.
  let inSequence: Bool
  /// Ordered by the time of the request, oldest first.
  private var entries: [Entry] = []
  /// The size of all pieces.
  private(set) var bytes: UInt64 = 0

  init(limit: UInt64, inSequence: Bool = false) {
    self.limit = limit
    self.inSequence = inSequence
  }

  var isEmpty: Bool { entries.isEmpty }

  // MARK: Fetching

  /// Adds pieces for those bytes of `range` that no piece has, and returns them. Pieces end at multiples of
  /// `length`. `size` is the file's size. Ranges for which `isInMemory` is true get no piece. `origin` is where
  /// the stream of reads began: sections count from there.
  ///
  /// To stay below the limit, the table evicts pieces that have been unused for longest, unless a fetch of
  /// them is in progress. If that is not enough, it adds fewer pieces.
  mutating func add(
    _ range: Range<UInt64>, of file: CInt, size: UInt64, length: UInt64, from origin: UInt64, at time: Double,
    unless isInMemory: (Range<UInt64>) -> Bool
  ) -> [Piece] {
    var added: [Piece] = []
    // Sections begin where pieces do.
    let firstSection = origin / length * length
    var start = range.lowerBound
    while start < range.upperBound {
      let others = entries.lazy.filter { $0.file == file }.map(\.piece.range)
      if let other = others.first(where: { $0.contains(start) }) {
        start = other.upperBound
        continue
      }
      let next = others.map(\.lowerBound).filter { $0 > start }.min() ?? .max
      let end = min(range.upperBound, next, (start / length + 1) * length)
      if isInMemory(start..<end) {
        start = end
        continue
      }
      guard let piece = Piece(start..<end, size: size),
        makeRoom(for: UInt64(piece.range.count), sparing: added.count)
      else { break }
      entries.append(
        Entry(
          file: file, piece: piece, end: end, left: Int(end - piece.range.lowerBound), lastUse: time,
          isFirst: start >= firstSection && (start - firstSection) % Self.section == 0
            && range.upperBound - start >= 1 << 20))
      bytes += UInt64(piece.range.count)
      added.append(piece)
      start = piece.range.upperBound
    }
    return added
  }

  /// Evicts old pieces. False if there is no room: what is left is being fetched, or was added just now.
  private mutating func makeRoom(for count: UInt64, sparing added: Int) -> Bool {
    while bytes + count > limit {
      let old = entries.indices.dropLast(added).filter { !entries[$0].isBeingFetched }
      guard let oldest = old.min(by: { entries[$0].lastUse < entries[$1].lastUse }) else { return false }
      remove(oldest)
    }
    return true
  }

  private mutating func remove(_ index: Int) {
    bytes -= UInt64(entries.remove(at: index).piece.range.count)
  }

  private func index(of piece: Piece) -> Int? { entries.firstIndex { $0.piece === piece } }

  /// The piece that has to be read before another one.
  private func predecessor(of index: Int) -> Int? {
    guard inSequence, !entries[index].isFirst else { return nil }
    let (file, start) = (entries[index].file, entries[index].piece.range.lowerBound)
    return entries.firstIndex {
      $0.file == file && $0.piece.range.upperBound == start && ($0.state == .queued || $0.state == .underWay)
    }
  }

  /// Marks a piece as being fetched. False if somebody else has begun to fetch it, or one before it has to be read first.
  mutating func begin(_ piece: Piece) -> Bool {
    guard let index = index(of: piece), entries[index].state == .queued,
      predecessor(of: index) == nil
    else { return false }
    entries[index].state = .underWay
    return true
  }

  /// What becomes of an open file description that has read a piece.
  enum Next {
    /// It reads this piece, which had to wait for that.
    case piece(Piece)
    /// It has nothing more to read: another one reads what follows, or a tensor ends here.
    case nothing
    case unknown
  }

  /// All reading for a piece has ended.
  mutating func endRead(_ piece: Piece) -> Next {
    guard let index = index(of: piece) else { return .unknown }
    entries[index].state = .read
    guard inSequence else { return .unknown }
    let (file, end, start) = (entries[index].file, entries[index].end, piece.range.upperBound)
    if let next = entries.first(where: { $0.file == file && $0.piece.range.lowerBound == start }) {
      return next.state == .queued ? .piece(next.piece) : .nothing
    }
    // What is read ahead of a reader ends at round offsets, except at the end of its tensor.
    return end % (128 << 10) == 0 ? .unknown : .nothing
  }

  /// Records that the fetch of a piece ended.
  mutating func end(_ piece: Piece, hasArrived: Bool) {
    guard let index = index(of: piece) else { return }
    if hasArrived { entries[index].state = .arrived } else { remove(index) }
  }

  /// Removes pieces that nobody has used since a time, unless they are being fetched.
  mutating func removeUnused(since time: Double) {
    let unused = entries.indices.filter { entries[$0].lastUse < time && !entries[$0].isBeingFetched }
    for index in unused.reversed() { remove(index) }
  }

  // MARK: Reading

  /// How a reader gets the first bytes of a range.
  enum Part {
    /// No piece has them.
    case missing(Range<UInt64>)
    /// A piece has them. If `isMine`, the caller must fetch it; otherwise, somebody else does.
    case piece(Piece, Range<UInt64>, isMine: Bool)
    /// The reader has to fetch this one or wait for it, and then ask again.
    case after(Piece, isMine: Bool)
  }

  /// Finds the first bytes of a non-empty range, and how many bytes that part has.
  mutating func first(of range: Range<UInt64>, in file: CInt, at time: Double) -> Part {
    guard
      let index = entries.firstIndex(where: { $0.file == file && $0.piece.range.contains(range.lowerBound) })
    else {
      let next = entries.lazy.filter { $0.file == file }.map(\.piece.range.lowerBound)
        .filter { $0 > range.lowerBound }.min()
      return .missing(range.lowerBound..<min(range.upperBound, next ?? .max))
    }
    let piece = entries[index].piece
    entries[index].lastUse = time
    var next = index
    // The kernel asks for several parts of its read-ahead at the same time.
    for _ in 0..<Self.mostBefore where entries[next].state == .queued { next = predecessor(of: next) ?? next }
    // Far ahead of all that is fetched, it is another reader's: the last page of a tensor is the next one's first.
    // So only the piece that has this page comes before.
    if entries[next].state == .queued, predecessor(of: next) != nil {
      let before = predecessor(of: index) ?? index
      next = entries[before].end < entries[before].piece.range.upperBound ? before : index
    }
    let isMine = entries[next].state == .queued
    if isMine { entries[next].state = .underWay }
    if next != index { return .after(entries[next].piece, isMine: isMine) }
    return .piece(piece, range.lowerBound..<min(range.upperBound, piece.range.upperBound), isMine: isMine)
  }

  /// Records that a reader took bytes of a piece. Removes the piece after its last requested byte. Bytes of
  /// its first page before the requested ones do not count.
  mutating func use(_ part: Range<UInt64>, of piece: Piece) {
    guard let index = index(of: piece) else { return }
    entries[index].left -= part.count
    let (left, end) = (entries[index].left, entries[index].end)
    if left <= 0 || left < Int(Piece.pageSize) && part.upperBound >= end { remove(index) }
  }
}
