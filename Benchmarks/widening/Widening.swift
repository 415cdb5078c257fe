// Measures the inner loops of widening, without mount and files: one line for each dtype, with the seconds of each
// round. Benchmarks/views runs it.
//
// usage: widening ELEMENTS TIMES ROUNDS: so many elements are widened so many times in each round.

import Glibc
import Safetensors
import TensorFS

@main struct WideningBenchmark {
  static func main() {
    let arguments = CommandLine.arguments.dropFirst().compactMap { Int($0) }
    guard arguments.count == 3 else {
      print("usage: widening ELEMENTS TIMES ROUNDS")
      exit(EX_USAGE)
    }
    for dtype in DType.allCases {
      guard let widening = dtype.widening else { continue }
      let narrowCount = arguments[0] * Int(dtype.bitSize) / 8
      let seconds = (0..<arguments[2]).map { _ in
        measure(widening, narrowCount, arguments[0], times: arguments[1])
      }
      print(dtype.name, seconds.map { "\($0)" }.joined(separator: " "))
    }
  }

  /// Widens random elements in memory, into memory that has been used before.
  private static func measure(
    _ widening: Widening, _ narrowCount: Int, _ elements: Int, times: Int
  ) -> Double {
    var generator = SystemRandomNumberGenerator()
    let narrow = (0..<narrowCount).map { _ in UInt8.random(in: 0...255, using: &generator) }
    var wide = [UInt32](repeating: 1, count: elements)
    let start = ContinuousClock.now
    for _ in 0..<times {
      var words = wide.mutableSpan
      var target = unsafe words.mutableBytes
      _ = unsafe widening.widen(narrow.span.bytes, into: &target)
    }
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
