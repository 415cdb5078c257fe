import Testing

@testable import Linux

/// The table of pieces that are in memory or requested, without files.
@Suite struct PieceTableTests {
  private static let mib: UInt64 = 1 << 20
  private static let size = 100 * mib + 5

  /// Adds pieces of one MiB.
  private func add(
    _ range: Range<UInt64>, to table: inout PieceTable, of file: CInt = 3, from origin: UInt64 = 0,
    at time: Double = 0, unless isInMemory: (Range<UInt64>) -> Bool = { _ in false }
  ) -> [Piece] {
    table.add(
      range, of: file, size: Self.size, length: Self.mib, from: origin, at: time, unless: isInMemory)
  }

  private func begin(_ piece: Piece, in table: inout PieceTable) -> Bool { table.begin(piece) }

  /// The piece that the same open file description reads after another one.
  private func next(_ piece: Piece, in table: inout PieceTable) -> Piece? {
    if case .piece(let next) = table.endRead(piece) { next } else { nil }
  }

  private func arrive(_ pieces: [Piece], in table: inout PieceTable) {
    for piece in pieces {
      #expect(begin(piece, in: &table))
      table.end(piece, hasArrived: true)
    }
  }

  /// Reads bytes in order. Returns the bytes that no piece has.
  private func read(_ range: Range<UInt64>, of table: inout PieceTable, at time: Double = 0) -> [Range<
    UInt64
  >] {
    var missing: [Range<UInt64>] = []
    var position = range.lowerBound
    while position < range.upperBound {
      switch table.first(of: position..<range.upperBound, in: 3, at: time) {
      case .missing(let part):
        #expect(part.lowerBound == position && !part.isEmpty)
        missing.append(part)
        position = part.upperBound
      case .piece(let piece, let part, let isMine):
        #expect(part.lowerBound == position && !part.isEmpty && !isMine)
        #expect(piece.range.lowerBound <= part.lowerBound && part.upperBound <= piece.range.upperBound)
        table.use(part, of: piece)
        position = part.upperBound
      case .after(let piece, _):
        Issue.record("\(piece.range) has not come")
        return missing
      }
    }
    return missing
  }

  @Test(
    "Pieces are whole pages, end at multiples of their length or at the end of the file, and do not overlap")
  func cutting() {
    var table = PieceTable(limit: 256 * Self.mib)
    let page = Piece.pageSize
    let first = add(page + 5..<2 * Self.mib + 7, to: &table)
    #expect(
      first.map(\.range) == [page..<Self.mib, Self.mib..<2 * Self.mib, 2 * Self.mib..<2 * Self.mib + page])
    #expect(add(page..<2 * Self.mib, to: &table).isEmpty)
    #expect(
      add(0..<3 * Self.mib, to: &table).map(\.range) == [0..<page, 2 * Self.mib + page..<3 * Self.mib])
    #expect(add(0..<page, to: &table, of: 4).map(\.range) == [0..<page], "of another file")
    #expect(add(Self.size - 1..<Self.size, to: &table).map(\.range) == [100 * Self.mib..<Self.size])
    #expect(table.bytes == 3 * Self.mib + page + 5)
  }

  @Test("Ranges in memory get no piece, and the ranges around them do")
  func inMemory() {
    var table = PieceTable(limit: 256 * Self.mib)
    let middle = 3 * Self.mib..<4 * Self.mib
    let pieces = add(100..<5 * Self.mib, to: &table, unless: { !$0.overlaps(middle) })
    #expect(pieces.map(\.range) == [middle])
  }

  @Test(
    "A reader gets bytes from pieces that have them, and the rest is missing",
    arguments: [0, 1, 4097, 1 << 19])
  func reading(start: UInt64) {
    var table = PieceTable(limit: 256 * Self.mib)
    arrive(add(2 * Self.mib + start..<4 * Self.mib, to: &table), in: &table)
    arrive(add(6 * Self.mib..<7 * Self.mib, to: &table), in: &table)
    let begin = (2 * Self.mib + start) / Piece.pageSize * Piece.pageSize
    #expect(
      read(Self.mib..<8 * Self.mib, of: &table)
        == [Self.mib..<begin, 4 * Self.mib..<6 * Self.mib, 7 * Self.mib..<8 * Self.mib])
    #expect(table.isEmpty && table.bytes == 0, "all of it was had")
  }

  @Test(
    "The pieces of an unaligned tensor are removed after it was read in any parts, and not before",
    arguments: [4096, 100_000, 131_072, 1 << 20] as [UInt64])
  func odd(step: UInt64) {
    var table = PieceTable(limit: 256 * Self.mib)
    let tensor = 5003..<5 * Self.mib + 77
    // The first read found no pieces.
    arrive(add(tensor.lowerBound + step..<tensor.upperBound, to: &table), in: &table)
    var position = tensor.lowerBound + step
    while position < tensor.upperBound {
      let end = min(position + step, tensor.upperBound)
      #expect(read(position..<end, of: &table).isEmpty, "at \(position)")
      position = end
    }
    #expect(table.isEmpty)
  }

  @Test("At the limit, the least recently used piece is evicted, but never one that is being fetched")
  func limit() {
    var table = PieceTable(limit: 4 * Self.mib)
    let old = add(0..<3 * Self.mib, to: &table, at: 1)
    arrive(Array(old[..<2]), in: &table)
    #expect(begin(old[2], in: &table))
    // Afterwards the first piece is no longer the oldest one.
    #expect(read(0..<5, of: &table, at: 2).isEmpty)
    #expect(add(10 * Self.mib..<12 * Self.mib, to: &table, at: 3).count == 2)
    #expect(table.bytes == 4 * Self.mib)
    #expect(read(0..<5, of: &table, at: 4).isEmpty)
    #expect(read(Self.mib..<Self.mib + 5, of: &table) == [Self.mib..<Self.mib + 5])
    let many = add(20 * Self.mib..<40 * Self.mib, to: &table, at: 5)
    #expect(many.map(\.range.lowerBound) == [20, 21, 22].map { $0 * Self.mib }, "next to running pieces")
    #expect(table.bytes == 4 * Self.mib)
    table.end(old[2], hasArrived: true)
    #expect(read(2 * Self.mib..<3 * Self.mib, of: &table).isEmpty)
  }

  @Test("A piece is fetched once, by a thread or by the first reader who needs it, and removed if that fails")
  func fetching() throws {
    var table = PieceTable(limit: 256 * Self.mib)
    let pieces = add(0..<2 * Self.mib, to: &table)
    try #require(pieces.count == 2)
    guard case .piece(let mine, _, let isMine) = table.first(of: 5..<6, in: 3, at: 0) else {
      Issue.record("nothing was added")
      return
    }
    #expect(isMine && mine === pieces[0])
    #expect(!begin(pieces[0], in: &table))
    #expect(begin(pieces[1], in: &table) && !begin(pieces[1], in: &table))
    table.end(pieces[0], hasArrived: false)
    #expect(read(0..<10, of: &table) == [0..<10])
    #expect(!begin(pieces[0], in: &table))
  }

  @Test(
    "In sequence, a piece is fetched once those before it have come; a reader fetches what no thread has begun"
  )
  func sequence() throws {
    var table = PieceTable(limit: 256 * Self.mib, inSequence: true)
    let pieces = add(0..<4 * Self.mib, to: &table)
    try #require(pieces.count == 4)
    #expect(add(0..<Self.mib, to: &table, of: 4).allSatisfy { begin($0, in: &table) }, "another file")
    #expect(!begin(pieces[1], in: &table) && begin(pieces[0], in: &table) && !begin(pieces[1], in: &table))
    guard case .after(let first, isMine: false) = table.first(of: Self.mib..<Self.mib + 1, in: 3, at: 0)
    else {
      Issue.record("the first is under way")
      return
    }
    #expect(first === pieces[0])
    #expect(next(pieces[0], in: &table) === pieces[1] && begin(pieces[1], in: &table))
    #expect(next(pieces[1], in: &table) === pieces[2])
    guard
      case .after(let third, isMine: true) = table.first(of: 3 * Self.mib..<3 * Self.mib + 1, in: 3, at: 0)
    else {
      Issue.record("nobody has begun to fetch the third")
      return
    }
    #expect(third === pieces[2] && !begin(third, in: &table))
    table.removeUnused(since: 1)
    #expect(table.bytes == 4 * Self.mib, "pieces in progress stay: three, and one of the other file")
    #expect(next(third, in: &table) === nil, "the fourth is gone")

    let start = 2 * PieceTable.section + Self.mib, last = start + 9 * Self.mib
    let others = add(start..<last + Self.mib, to: &table)
    guard
      case .piece(let far, _, isMine: true) = table.first(of: last..<last + 1, in: 3, at: 0)
    else {
      Issue.record("a reader waits for a piece far before its offset")
      return
    }
    #expect(far === others.last)
  }

  @Test(
    "In sequence, the page at the border of two tensors is fetched before the second one, and not the whole first one"
  )
  func border() {
    var table = PieceTable(limit: 256 * Self.mib, inSequence: true)
    let start = 2 * PieceTable.section + Self.mib, second = start + 6 * Self.mib + 100
    let pieces = add(start..<second, to: &table)
    _ = add(second..<second + 4 * Self.mib, to: &table)
    for isMine in [true, false] {
      guard
        case .after(let border, isMine) = table.first(of: second + 1 << 19..<second + 1 << 20, in: 3, at: 0)
      else {
        Issue.record("\(isMine)")
        return
      }
      #expect(border === pieces.last)
    }
    #expect(next(pieces[6], in: &table)?.range.upperBound == start + 7 * Self.mib)
  }

  @Test("In sequence, sections are fetched at the same time, but no short end of a tensor")
  func sections() throws {
    var table = PieceTable(limit: 256 * Self.mib, inSequence: true)
    let section = PieceTable.section
    let pieces = add(2 * section - 2 * Self.mib..<4 * section + 5, to: &table)
    #expect(
      pieces.filter { begin($0, in: &table) }.map(\.range.lowerBound)
        == [2 * section - 2 * Self.mib, 2 * section, 3 * section])
  }

  @Test(
    "In sequence, sections count from where a stream of reads began, so that none is much longer than another"
  )
  func sectionsOfStream() throws {
    var table = PieceTable(limit: 256 * Self.mib, inSequence: true)
    let (origin, section) = (5 * Self.mib + 5000, PieceTable.section)
    // At first, less is asked for than a section has.
    let pieces =
      add(origin..<20 * Self.mib, to: &table, from: origin)
      + add(20 * Self.mib..<origin + 2 * section + 2 * Self.mib, to: &table, from: origin)
    #expect(
      pieces.filter { begin($0, in: &table) }.map(\.range.lowerBound)
        == [5 * Self.mib + 4096, 5 * Self.mib + section, 5 * Self.mib + 2 * section])
  }

  @Test("An open file has nothing more to read if another one reads what follows, or if a tensor ends")
  func leaving() throws {
    var table = PieceTable(limit: 256 * Self.mib, inSequence: true)
    let border = 2 * PieceTable.section
    let pieces = add(border - 2 * Self.mib..<border + 2 * Self.mib, to: &table)
    for index in [0, 2] { #expect(begin(pieces[index], in: &table)) }
    #expect(next(pieces[0], in: &table) === pieces[1] && begin(pieces[1], in: &table))
    guard case .nothing = table.endRead(pieces[1]) else {
      Issue.record("another one reads the next section")
      return
    }
    #expect(next(pieces[2], in: &table) === pieces[3] && begin(pieces[3], in: &table))
    guard case .unknown = table.endRead(pieces[3]) else {
      Issue.record("more may be asked for")
      return
    }
    let end = try #require(add(border + 9 * Self.mib..<border + 9 * Self.mib + 100, to: &table).last)
    #expect(begin(end, in: &table))
    guard case .nothing = table.endRead(end) else {
      Issue.record("a tensor ends")
      return
    }
  }

  @Test("Unused pieces are removed after a time, unless they are being fetched")
  func unused() {
    var table = PieceTable(limit: 256 * Self.mib)
    let pieces = add(0..<3 * Self.mib, to: &table, at: 1)
    arrive([pieces[0]], in: &table)
    #expect(begin(pieces[1], in: &table))
    table.removeUnused(since: 1)
    #expect(table.bytes == 3 * Self.mib)
    table.removeUnused(since: 2)
    #expect(table.bytes == Self.mib && !table.isEmpty)
    table.end(pieces[1], hasArrived: true)
    table.removeUnused(since: 2)
    #expect(table.isEmpty)
  }
}
