import Glibc
import Linux
import Models
import Safetensors
import Synchronization
import SystemPackage
import TensorFiles

/// Compares tensors of one name, block by block, on all processors.
final class Comparison: Sendable {
  /// Two tensors of the same shape, with equally many numbers.
  struct Pair: Sendable {
    let first: DiffSide.Entry
    let second: DiffSide.Entry

    var isSameType: Bool { first.tensor.dtype == second.tensor.dtype }
  }

  /// The kind of comparison.
  enum Question {
    /// Whether any pair differs.
    case any
    /// Which pairs differ.
    case which
    /// Which pairs differ, and how far.
    case howFar
  }

  /// How many numbers are in a block: of the narrowest type, whole bytes.
  private static let blockSize: UInt64 = 4 << 20
  /// The number of bytes read at a time; they fit into the processor's cache.
  private static let step = 128 << 10
  /// How many numbers are measured at a time.
  private static let numberStep: UInt64 = 12 << 10

  private let pairs: [Pair]
  private let question: Question
  /// For each pair, whether it differs.
  private let differing: Mutex<[Bool]>

  /// A comparison of pairs, of which those that have the same type are compared by their bytes.
  init(_ pairs: [Pair], _ question: Question) {
    self.pairs = pairs
    self.question = question
    differing = Mutex(pairs.map { !$0.isSameType })
  }

  /// Compares, and returns for each pair whether it differs, and how far if requested. Throws ``Failure``.
  func run() throws -> (differing: [Bool], distances: [Distance]) {
    let counts = pairs.map { pair in
      question == .howFar || pair.isSameType
        ? NumberReader(pair.first.tensor.dtype).count(in: pair.first.contents.byteCount) : 0
    }
    let blocks = TensorBlock.all(of: counts, size: Self.blockSize)
    let results = try ParallelWork.map(blocks) { [self] block in
      if question == .howFar { return try measure(block) }
      try compare(block)
      return Distance()
    }
    var distances = [Distance](repeating: Distance(), count: pairs.count)
    // In the order of the blocks, so that sums are the same in each run.
    for (block, distance) in zip(blocks, results) { distances[block.tensor].add(distance) }
    return (differing.withLock { $0 }, distances)
  }

  /// Compares the bytes of a block, unless its pair is known to differ, up to the first difference.
  private func compare(_ block: TensorBlock) throws {
    let isKnown = differing.withLock { question == .any ? $0.contains(true) : $0[block.tensor] }
    if isKnown { return }
    let pair = pairs[block.tensor]
    let reader = NumberReader(pair.first.tensor.dtype)
    var rest = reader.byteCount(of: block.numbers.lowerBound)..<reader.byteCount(of: block.numbers.upperBound)
    var first = [UInt8](repeating: 0, count: min(rest.count, Self.step))
    var second = first
    while !rest.isEmpty {
      let count = min(rest.count, Self.step)
      try pair.first.contents.read(from: rest.lowerBound, count, into: &first, of: pair.first.tensor)
      try pair.second.contents.read(from: rest.lowerBound, count, into: &second, of: pair.second.tensor)
      guard isEqual(first, second, count) else {
        differing.withLock { $0[block.tensor] = true }
        return
      }
      rest = rest.lowerBound + UInt64(count)..<rest.upperBound
    }
  }

  /// Measures how far the numbers of a block differ.
  private func measure(_ block: TensorBlock) throws -> Distance {
    let pair = pairs[block.tensor]
    let readers = (NumberReader(pair.first.tensor.dtype), NumberReader(pair.second.tensor.dtype))
    let isByBytes = pair.isSameType && pair.first.tensor.dtype.bitSize >= 8
    let width = Int(pair.first.tensor.dtype.bitSize / 8)
    var distance = Distance()
    var bytes = (
      [UInt8](repeating: 0, count: Int(readers.0.byteCount(of: Self.numberStep))),
      [UInt8](repeating: 0, count: Int(readers.1.byteCount(of: Self.numberStep)))
    )
    var numbers = [Double](repeating: 0, count: Int(Self.numberStep))
    var others = numbers
    var rest = block.numbers
    while !rest.isEmpty {
      let count = min(UInt64(rest.count), Self.numberStep)
      let sizes = (Int(readers.0.byteCount(of: count)), Int(readers.1.byteCount(of: count)))
      try pair.first.contents.read(
        from: readers.0.byteCount(of: rest.lowerBound), sizes.0, into: &bytes.0, of: pair.first.tensor)
      try pair.second.contents.read(
        from: readers.1.byteCount(of: rest.lowerBound), sizes.1, into: &bytes.1, of: pair.second.tensor)
      _ = unsafe readers.0.read(bytes.0.span.bytes.extracting(first: sizes.0), into: &numbers)
      _ = unsafe readers.1.read(bytes.1.span.bytes.extracting(first: sizes.1), into: &others)
      distance.measure(numbers, others, Int(count))
      let isSame = pair.isSameType && isEqual(bytes.0, bytes.1, sizes.0)
      if pair.isSameType, !isSame { differing.withLock { $0[block.tensor] = true } }
      if isByBytes {
        // Signs of zeros and large integers are differences too, which float64 does not show.
        distance.count += UInt64(sizes.0 / width)
        if !isSame { distance.differing += differingElements(bytes.0, bytes.1, sizes.0, width: width) }
      } else {
        distance.count += count
        distance.differing += differingNumbers(numbers, others, Int(count))
      }
      rest = rest.lowerBound + count..<rest.upperBound
    }
    return distance
  }
}

/// How many elements of `width` bytes differ in the first `count` bytes of two arrays.
private func differingElements(_ left: [UInt8], _ right: [UInt8], _ count: Int, width: Int) -> UInt64 {
  stride(from: 0, to: count, by: width).reduce(0) { sum, start in
    left[start..<start + width] == right[start..<start + width] ? sum : sum + 1
  }
}

/// How many of the first `count` numbers of two arrays differ. A NaN is like any other.
private func differingNumbers(_ left: [Double], _ right: [Double], _ count: Int) -> UInt64 {
  (0..<count).reduce(0) { sum, index in
    left[index] == right[index] || left[index].isNaN && right[index].isNaN ? sum : sum + 1
  }
}

/// True if two arrays begin with the same bytes: memcmp(3).
private func isEqual(_ left: [UInt8], _ right: [UInt8], _ count: Int) -> Bool {
  unsafe left.withUnsafeBytes { left in
    unsafe right.withUnsafeBytes { right in
      guard let left = left.baseAddress, let right = right.baseAddress else { return true }
      return unsafe memcmp(left, right, count) == 0
    }
  }
}
