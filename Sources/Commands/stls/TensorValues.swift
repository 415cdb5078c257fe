import Linux
import Models
import Safetensors
import TensorFiles

/// A tensor and the statistics of its numbers: `--stats`.
struct TensorValues: Sendable {
  let tensor: Tensor
  let statistics: ValueStatistics
  /// How many numbers are in each of ``bins`` equal parts between minimum and maximum. Empty if no histogram was requested, or if
  /// the numbers allow none.
  var histogram: [UInt64] = []

  /// How many parts a histogram has.
  private static let bins = 16
  /// How many numbers one thread takes at a time.
  private static let blockSize: UInt64 = 8 << 20
  /// The number of numbers read at a time; they fit into the processor's cache.
  private static let step: UInt64 = 2048
  /// Patterns are counted in tensors of at least this many bytes, for which the cost of the tables is small.
  private static let leastCounted: UInt64 = 1 << 20

  /// The statistics of a model's tensors, on all processors, in memory that does not depend on their sizes. Throws ``Failure``.
  static func all(of tensors: [(tensor: Tensor, contents: FileLayout)], withHistograms: Bool) throws
    -> [TensorValues]
  {
    let counts = tensors.map { NumberReader($0.tensor.dtype).count(in: $0.contents.byteCount) }
    let blocks = TensorBlock.all(of: counts, size: Self.blockSize)
    let parts = try ParallelWork.map(blocks) { block in
      let (tensor, contents) = tensors[block.tensor]
      return try Self.statistics(of: tensor, contents, block.numbers)
    }
    var statistics = [ValueStatistics](repeating: ValueStatistics(), count: tensors.count)
    // In the order of the blocks, so that sums are the same in each run.
    for (block, part) in zip(blocks, parts) { statistics[block.tensor].add(part) }
    var values = zip(tensors, statistics).map { TensorValues(tensor: $0.tensor, statistics: $1) }
    guard withHistograms else { return values }

    let drawn = blocks.filter { values[$0.tensor].canBeDrawn }
    let all = values
    let histograms = try ParallelWork.map(drawn) { block in
      let (tensor, contents) = tensors[block.tensor]
      return try Self.histogram(of: tensor, contents, block.numbers, all[block.tensor].statistics)
    }
    for (block, part) in zip(drawn, histograms) {
      let former = values[block.tensor].histogram
      values[block.tensor].histogram = former.isEmpty ? part : zip(former, part).map { $0 + $1 }
    }
    return values
  }

  /// True if there are at least two different numbers, and all are finite.
  private var canBeDrawn: Bool {
    statistics.minimum.isFinite && statistics.maximum.isFinite && statistics.minimum < statistics.maximum
      && (statistics.maximum - statistics.minimum).isFinite
  }

  private static func statistics(
    of tensor: Tensor, _ contents: FileLayout, _ numbers: Range<UInt64>
  ) throws -> ValueStatistics {
    let reader = NumberReader(tensor.dtype)
    if (leastCounted..<PatternCounts.limit).contains(reader.byteCount(of: UInt64(numbers.count))),
      var counts = PatternCounts(tensor.dtype)
    {
      var rest = reader.byteCount(of: numbers.lowerBound)..<reader.byteCount(of: numbers.upperBound)
      var bytes = [UInt8](repeating: 0, count: 128 << 10)
      while !rest.isEmpty {
        let count = min(rest.count, bytes.count)
        try contents.read(from: rest.lowerBound, count, into: &bytes, of: tensor)
        unsafe counts.add(bytes.span.bytes.extracting(first: count))
        rest = rest.lowerBound + UInt64(count)..<rest.upperBound
      }
      return counts.statistics(reader)
    }
    var statistics = ValueStatistics()
    try forEachStep(of: tensor, contents, numbers) { numbers, count in
      statistics.add(ValueStatistics(numbers, count: count))
    }
    return statistics
  }

  private static func histogram(
    of tensor: Tensor, _ contents: FileLayout, _ numbers: Range<UInt64>, _ statistics: ValueStatistics
  ) throws -> [UInt64] {
    var histogram = [UInt64](repeating: 0, count: bins)
    let start = statistics.minimum
    let scale = Double(bins) / (statistics.maximum - start)
    try forEachStep(of: tensor, contents, numbers) { numbers, count in
      for number in numbers.prefix(count) where number >= start {
        histogram[min(bins - 1, Int(min((number - start) * scale, Double(bins))))] += 1
      }
    }
    return histogram
  }

  /// Calls `body` with the numbers of a block, a few at a time, and how many they are.
  private static func forEachStep(
    of tensor: Tensor, _ contents: FileLayout, _ numbers: Range<UInt64>, _ body: ([Double], Int) -> Void
  ) throws {
    let reader = NumberReader(tensor.dtype)
    // Large reads, small steps.
    let readCount = min(16 * step, UInt64(numbers.count))
    var bytes = [UInt8](repeating: 0, count: Int(reader.byteCount(of: readCount)))
    var values = [Double](repeating: 0, count: Int(step))
    let stepBytes = Int(reader.byteCount(of: step))
    var rest = numbers
    while !rest.isEmpty {
      let count = min(UInt64(rest.count), readCount)
      let byteCount = Int(reader.byteCount(of: count))
      try contents.read(from: reader.byteCount(of: rest.lowerBound), byteCount, into: &bytes, of: tensor)
      for start in stride(from: 0, to: byteCount, by: stepBytes) {
        let part = start..<min(start + stepBytes, byteCount)
        let read = unsafe reader.read(bytes.span.bytes.extracting(part), into: &values)
        body(values, read)
      }
      rest = rest.lowerBound + count..<rest.upperBound
    }
  }
}
