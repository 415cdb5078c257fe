/// A file of PyTorch before 0.1.10: a tar archive of `sys_info`, `pickle`, `storages` and `tensors`. The
/// pickle refers to storages and tensors by number.
struct LegacyTar {
  /// The files in the archive that are read.
  private static let names = ["sys_info", "pickle", "storages", "tensors"]

  /// True if a file begins with these bytes, at least 16.
  static func isStart(_ prefix: [UInt8]) -> Bool {
    names.contains { prefix.starts(with: Array($0.utf8) + [0]) }
  }

  let pickle: Pickle
  /// The storage or tensor behind each persistent id of the pickle.
  let externals: [External]

  init(_ source: some ByteSource) throws(FormatError) {
    let archive = try TarArchive(source)
    func file(_ name: String) throws(FormatError) -> Range<UInt64> {
      guard let range = archive.files[Array(name.utf8)] else {
        throw FormatError(at: nil, .malformed(.entry(Array(name.utf8)), "is missing"))
      }
      return range
    }
    var system = PickleSequence(source, try file("sys_info"))
    let (info, position) = (try system.next(), try file("sys_info").lowerBound)
    guard case .bool(let isLittle)? = info.value(of: "little_endian", in: info.root) else {
      throw FormatError(
        at: position, .malformed(.file, "no byte order ('little_endian') in its system information"))
    }
    guard isLittle else { throw FormatError(at: position, .bigEndian) }

    var objects: [Int64: External] = [:]
    try Self.readStorages(source, try file("storages"), into: &objects)
    try Self.readTensors(source, try file("tensors"), into: &objects)
    var contents = PickleSequence(source, try file("pickle"))
    let pickle = try contents.next(references: .kept)
    self.pickle = pickle
    externals = pickle.externals.map { id in Self.key(id, in: pickle).flatMap { objects[$0] } ?? .missing }
  }

  /// A key as an integer; the pickle has it as a number or as digits.
  fileprivate static func key(_ value: Pickle.Value, in pickle: Pickle) -> Int64? {
    if let text = pickle.string(value) {
      return text.count > 20 ? nil : String(validating: text, as: UTF8.self).flatMap { Int64($0) }
    }
    return pickle.integer(value)
  }

  /// Reads the storages: their count, and for each `(key, location, class)`, the number of elements and the
  /// elements. A list of views follows: `(key, key of the whole storage, first element, number of elements)`.
  private static func readStorages(
    _ source: some ByteSource, _ range: Range<UInt64>, into objects: inout [Int64: External]
  ) throws(FormatError) {
    func error(_ position: UInt64, _ text: String) -> FormatError {
      FormatError(at: position, .malformed(.entry(Array("storages".utf8)), text))
    }
    var file = PickleSequence(source, range)
    for _ in 0..<(try file.rowCount()) {
      let position = file.position
      guard let row = try file.row(), case .storage(let type)? = row.pickle.meaning(row.items[2]) else {
        throw error(position, "has an invalid storage record")
      }
      let count = try file.number(8)
      let (size, isLarge) = count.multipliedReportingOverflow(by: type.byteCount)
      guard !isLarge, let bytes = file.take(size) else { throw FormatError(at: range.upperBound, .truncated) }
      objects[row.key] = .storage(type, bytes)
    }
    let position = file.position
    let views = try file.next()
    for view in views.sequence(views.root) ?? [] {
      guard let items = views.sequence(view), items.count == 4, let key = Self.key(items[0], in: views),
        let root = Self.key(items[1], in: views), case .storage(let type, let whole)? = objects[root],
        let first = views.count(items[2]), let count = views.count(items[3])
      else { throw error(position, "has an invalid record of a storage view") }
      let elements = UInt64(whole.count) / type.byteCount
      guard first <= elements, count <= elements - first else {
        throw error(position, "has a storage view that exceeds its storage")
      }
      let start = whole.lowerBound + first * type.byteCount
      objects[key] = .storage(type, start..<start + count * type.byteCount)
    }
  }

  /// Reads the tensors: their count, and for each `(key, storage's key, class)`, the rank in 8 bytes, shape,
  /// strides and first element.
  private static func readTensors(
    _ source: some ByteSource, _ range: Range<UInt64>, into objects: inout [Int64: External]
  ) throws(FormatError) {
    var file = PickleSequence(source, range)
    for _ in 0..<(try file.rowCount()) {
      let position = file.position
      guard let row = try file.row(), let storage = Self.key(row.items[1], in: row.pickle),
        case .storage(let type, let bytes)? = objects[storage]
      else {
        throw FormatError(
          at: position, .malformed(.entry(Array("tensors".utf8)), "has an invalid tensor record"))
      }
      let rank = Int(truncatingIfNeeded: try file.number(8) & 0xFFFF_FFFF)
      guard rank <= TensorReader.maximumRank else {
        throw FormatError(
          at: position, .malformed(.entry(Array("tensors".utf8)), "has a tensor with too many dimensions"))
      }
      var numbers: [UInt64] = []
      for _ in 0..<2 * rank { numbers.append(try file.number(8)) }
      let offset = try file.number(8)
      objects[row.key] = .tensor(
        type, bytes, offset: offset, shape: Array(numbers[..<rank]), strides: Array(numbers[rank...]),
        position: position)
    }
  }
}

/// What a persistent id of a tar archive refers to.
enum External: Sendable {
  case storage(ElementType, Range<UInt64>)
  case tensor(
    ElementType, Range<UInt64>, offset: UInt64, shape: [UInt64], strides: [UInt64], position: UInt64)
  case missing
}

/// Reads pickles and numbers one after the other from a part of a file.
private struct PickleSequence<Source: ByteSource> {
  private let source: Source
  private let end: UInt64
  private(set) var position: UInt64

  init(_ source: Source, _ range: Range<UInt64>) {
    self.source = source
    (position, end) = (range.lowerBound, range.upperBound)
  }

  /// Reads the next pickle. Its length is not stored; most have about 50 bytes.
  mutating func next(references: PickleMachine.References = .storages) throws(FormatError) -> Pickle {
    var count: UInt64 = 1 << 10
    while true {
      let limit = min(end - position, UInt64(PickleMachine.maximumSize))
      let bytes = try source.bytes(from: position, count: Int(min(limit, count)))
      do throws(FormatError) {
        let pickle = try PickleMachine.read(bytes, at: position, references: references)
        position += UInt64(pickle.end)
        return pickle
      } catch {
        guard error.problem == .truncated, UInt64(bytes.count) < limit else { throw error }
      }
      count *= 8
    }
  }

  /// Reads the next pickle, which is the number of rows that follow.
  mutating func rowCount() throws(FormatError) -> UInt64 {
    let number = try next()
    return number.count(number.root) ?? 0
  }

  /// Reads the next pickle as a row: a key and two more items. Nil if it is something else.
  mutating func row() throws(FormatError) -> (pickle: Pickle, key: Int64, items: [Pickle.Value])? {
    let pickle = try next()
    guard let items = pickle.sequence(pickle.root), items.count == 3,
      let key = LegacyTar.key(items[0], in: pickle)
    else { return nil }
    return (pickle, key, items)
  }

  /// Reads the next little-endian number of `count` bytes.
  mutating func number(_ count: Int) throws(FormatError) -> UInt64 {
    guard let range = take(UInt64(count)) else { throw FormatError(at: end, .truncated) }
    return littleEndian(try source.bytes(from: range.lowerBound, count: count), at: 0, count: count)
  }

  /// Skips bytes and returns their range; nil if fewer remain.
  mutating func take(_ count: UInt64) -> Range<UInt64>? {
    guard count <= end - position else { return nil }
    position += count
    return position - count..<position
  }
}
