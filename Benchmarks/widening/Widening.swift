// Measures the inner loops of widening, without mount and files: one line for each dtype, with the seconds of each
// run. Benchmarks/views runs it.
//
// usage: widening BYTES ROUNDS: so many bytes of float32 are made in each round.

import Glibc
import Safetensors
import TensorFS

@main struct WideningBenchmark {
  /// What one read widens at most, in bytes of float32.
  private static let request = 1 << 20

  static func main() {
    let arguments = CommandLine.arguments.dropFirst().compactMap { Int($0) }
    guard arguments.count == 2, arguments[0] >= request else {
      print("usage: widening BYTES ROUNDS")
      exit(EX_USAGE)
    }
    for dtype in DType.allCases {
      guard let widening = dtype.widening else { continue }
      let seconds = (0..<arguments[1]).map { _ in measure(widening, dtype, arguments[0]) }
      print(dtype.name, seconds.map { "\($0)" }.joined(separator: " "))
    }
  }

  /// Widens a tensor that is in memory, into memory that has been used before, in pieces as large as requests.
  private static func measure(_ widening: Widening, _ dtype: DType, _ count: Int) -> Double {
    // A multiple of every group.
    let elements = request / 4 / 12 * 12
    let narrowCount = elements * Int(dtype.bitSize) / 8
    let wideCount = elements * 4
    let pieces = count / wideCount
    var generator = SystemRandomNumberGenerator()
    let tensor = (0..<narrowCount * pieces / 8 + 1).map { _ in generator.next() }
    var wide = [UInt64](repeating: 1, count: wideCount * pieces / 8)
    let start = ContinuousClock.now
    unsafe wide.withUnsafeMutableBytes { memory in
      for piece in 0..<pieces {
        let source = unsafe tensor.span.bytes.extracting(piece * narrowCount..<(piece + 1) * narrowCount)
        // Each piece is inside of what was allocated above.
        var target = unsafe MutableRawSpan(
          _unsafeBytes: memory[piece * wideCount..<(piece + 1) * wideCount])
        _ = widening.widen(source, into: &target)
      }
    }
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
