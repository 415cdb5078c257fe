/// The pieces of a store's files that have been asked for and not been used up: at most ``limit`` bytes of them.
struct PieceTable {
  private enum State {
    case queued, underWay, arrived
  }

  private struct Entry {
    /// The descriptor that the file is known by.
    let file: CInt
    let piece: Piece
    var state = State.queued
    /// Where those end that were asked for.
    let end: UInt64
    /// How many bytes before that nobody has had yet.
    var left: Int
    /// Seconds.
    var lastUse: Double
  }

  /// In bytes.
  let limit: UInt64
  /// The least recently asked for first.
  private var entries: [Entry] = []
  /// Of all pieces.
  private(set) var bytes: UInt64 = 0

  init(limit: UInt64) { self.limit = limit }

  var isEmpty: Bool { entries.isEmpty }

  // MARK: Fetching

  /// Adds pieces for bytes `range` of a file of `size` bytes, as far as they are in none: each ends at a multiple of `length`. Those
  /// of which `isInMemory` says that they are there are left out.
  ///
  /// Where that makes too many, pieces go that nobody has used for the longest time, or that nobody has begun to fetch; and those
  /// that are under way let fewer be added.
  mutating func add(
    _ range: Range<UInt64>, of file: CInt, size: UInt64, length: UInt64, at time: Double,
    unless isInMemory: (Range<UInt64>) -> Bool
  ) -> [Piece] {
    var added: [Piece] = []
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
          file: file, piece: piece, end: end, left: Int(end - piece.range.lowerBound), lastUse: time))
      bytes += UInt64(piece.range.count)
      added.append(piece)
      start = piece.range.upperBound
    }
    return added
  }

  /// False where too much is under way, or was added last.
  private mutating func makeRoom(for count: UInt64, sparing added: Int) -> Bool {
    while bytes + count > limit {
      let old = entries.indices.dropLast(added).filter { entries[$0].state != .underWay }
      guard let oldest = old.min(by: { entries[$0].lastUse < entries[$1].lastUse }) else { return false }
      remove(oldest)
    }
    return true
  }

  private mutating func remove(_ index: Int) {
    bytes -= UInt64(entries.remove(at: index).piece.range.count)
  }

  private func index(of piece: Piece) -> Int? { entries.firstIndex { $0.piece === piece } }

  /// True if a piece is the caller's to fetch, since nobody has begun to.
  mutating func begin(_ piece: Piece) -> Bool {
    guard let index = index(of: piece), entries[index].state == .queued else { return false }
    entries[index].state = .underWay
    return true
  }

  /// A piece has come, or will not.
  mutating func end(_ piece: Piece, hasArrived: Bool) {
    guard let index = index(of: piece) else { return }
    if hasArrived { entries[index].state = .arrived } else { remove(index) }
  }

  /// Removes what nobody has used since a time, except for what is under way.
  mutating func removeUnused(since time: Double) {
    let unused = entries.indices.filter { entries[$0].lastUse < time && entries[$0].state != .underWay }
    for index in unused.reversed() { remove(index) }
  }

  // MARK: Reading

  /// How a reader gets the first of some bytes.
  enum Part {
    /// They are in no piece.
    case missing(Range<UInt64>)
    /// They are in one, which the reader has to fetch if `isMine`, and to wait for otherwise.
    case piece(Piece, Range<UInt64>, isMine: Bool)
  }

  /// How a reader of a file gets the first bytes of `range`, which is not empty, and how many of them.
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
    let isMine = begin(piece)
    return .piece(piece, range.lowerBound..<min(range.upperBound, piece.range.upperBound), isMine: isMine)
  }

  /// A reader has had bytes of a piece: it goes once all of them were had, but for what its first page has before those that were
  /// asked for.
  mutating func use(_ part: Range<UInt64>, of piece: Piece) {
    guard let index = index(of: piece) else { return }
    entries[index].left -= part.count
    let (left, end) = (entries[index].left, entries[index].end)
    if left <= 0 || left < Int(Piece.pageSize) && part.upperBound >= end { remove(index) }
  }
}
