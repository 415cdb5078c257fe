import Testing

@testable import FUSE
@testable import Linux
@testable import Models
import Safetensors
@testable import TensorFiles
@testable import TensorFS

/// The ranges that stmount prefetches for a reader: none, unless the reader reads sequentially.
@Suite struct StreamTests {
  private let size: UInt64 = 200 << 20
  private let tensor: Range<UInt64> = 1000..<(100 << 20)
  private let block: UInt64 = 128 << 10

  /// The block with this number, in a file without a header.
  private func block(_ index: Int) -> Range<UInt64> { UInt64(index) * block..<UInt64(index + 1) * block }

  private func next(
    _ streams: inout Streams, _ range: Range<UInt64>, of tensor: Range<UInt64>? = nil, in file: CInt = 3
  ) -> Range<UInt64> {
    streams.next(range, of: tensor ?? self.tensor, in: file, size: size)
  }

  @Test("A single read prefetches nothing")
  func lone() {
    var streams = Streams()
    for offset in [5000, 70_000, 20_000] as [UInt64] {
      #expect(next(&streams, offset..<offset + 4096).isEmpty)
    }
  }

  @Test("A sequential reader's window grows to 16 MiB, and each byte is prefetched once")
  func growing() {
    var streams = Streams()
    var fetched: UInt64 = 0
    for index in 0..<UInt64(400) {
      let request = 1000 + index * block..<1000 + (index + 1) * block
      let ahead = next(&streams, request)
      if !ahead.isEmpty {
        #expect(ahead.lowerBound == max(fetched, request.upperBound), "request \(index)")
        fetched = ahead.upperBound
      }
      #expect(index == 0 || fetched >= request.upperBound)
      #expect(fetched <= request.upperBound + 16 << 20)
      #expect(fetched <= request.upperBound + 2 * (index + 1) * block)
    }
    #expect(fetched >= 1000 + 400 * block + 8 << 20)
  }

  @Test("Nothing beyond the end of the tensor is prefetched")
  func end() {
    var streams = Streams()
    let small: Range<UInt64> = 0..<(3 * block + 7)
    #expect(next(&streams, block(0), of: small).isEmpty)
    #expect(next(&streams, block(1), of: small) == 2 * block..<small.upperBound)
    #expect(next(&streams, block(2), of: small).isEmpty)
    #expect(next(&streams, 3 * block..<small.upperBound, of: small).isEmpty)
  }

  @Test("A reader who continues from one tensor into the next is prefetched to the end of the file")
  func nextTensor() {
    var streams = Streams()
    let first = 0..<2 * block, second = 2 * block..<4 * block
    _ = next(&streams, block(0), of: first)
    #expect(next(&streams, block(1), of: first).isEmpty)
    #expect(next(&streams, block(2), of: second) == 3 * block..<9 * block)

    var last = Streams()
    _ = last.next(block(0), of: first, in: 3, size: 5 * block)
    _ = last.next(block(1), of: first, in: 3, size: 5 * block)
    #expect(last.next(block(2), of: second, in: 3, size: 5 * block) == 3 * block..<5 * block)
  }

  @Test("A distant tensor, and another file, start a new stream")
  func elsewhere() {
    var streams = Streams()
    let first = 0..<10 * block, far = 200 * block..<300 * block
    for index in 0..<9 { _ = next(&streams, block(index), of: first) }
    #expect(next(&streams, block(200), of: far).isEmpty)
    #expect(next(&streams, block(9), of: first, in: 4).isEmpty)
  }

  @Test("Requests of one stream may arrive out of order")
  func overtaking() {
    var streams = Streams()
    for index in 0..<32 { _ = next(&streams, block(index)) }
    #expect(next(&streams, block(33)).isEmpty, "within the window")
    #expect(next(&streams, block(32)).isEmpty, "within the window")
    #expect(next(&streams, block(34)).count <= 8 << 20)
  }

  @Test("A jump ends the stream and its prefetching")
  func jump() {
    var streams = Streams()
    for index in 0..<64 { _ = next(&streams, block(index)) }
    let far: UInt64 = 60 << 20
    #expect(next(&streams, far..<far + 4096).isEmpty)
    #expect(next(&streams, far + 4096..<far + 8192).upperBound <= far + 8192 + 2 * 8192)
  }

  @Test("32 concurrent readers have streams of their own, despite single reads in between")
  func many() {
    var streams = Streams()
    let starts = (0..<32).map { UInt64($0) << 20 }
    for start in starts { _ = next(&streams, start..<start + 4096) }
    for (lone, start) in starts.enumerated() {
      _ = next(&streams, UInt64(lone) << 20 | 500_000..<UInt64(lone) << 20 | 500_001)
      #expect(!next(&streams, start + 4096..<start + 8192).isEmpty)
    }
  }

  @Test("On a slow store, a large read at a tensor's beginning begins a stream, and a small one does not")
  func remote() {
    let window = Window.remote(largest: 8 << 20, growth: 4)
    var streams = Streams()
    let first = tensor.lowerBound..<tensor.lowerBound + block
    #expect(
      streams.next(first, of: tensor, in: 3, size: size, window) == first.upperBound..<8 << 20,
      "to a round offset")
    #expect(streams.active == 1)
    let other = tensor.lowerBound + block..<tensor.lowerBound + 2 * block
    #expect(streams.next(5000..<9096, of: 5000..<(1 << 20), in: 4, size: size, window).isEmpty)
    #expect(streams.next(70 << 20..<70 << 20 + block, of: tensor, in: 4, size: size, window).isEmpty)
    #expect(streams.next(other, of: tensor, in: 3, size: size, window).isEmpty, "enough is on its way")
    let rest = other.upperBound..<other.upperBound + 1 << 20
    #expect(streams.next(rest, of: tensor, in: 3, size: size, window) == 8 << 20..<9 << 20)
    #expect(streams.active == 1)
  }

  @Test("On a slow store, small tensors read in order are prefetched in large parts")
  func manySmall() {
    let window = Window.remote(largest: 48 << 20, growth: 4)
    var streams = Streams()
    let ranges = (0..<1600).map { block($0) }
      .map { streams.next($0, of: $0, in: 3, size: size, window) }.filter { !$0.isEmpty }
    // At first, the window is small.
    #expect(ranges.count(where: { $0.count < 1 << 20 && $0.upperBound < size }) <= 16)
    #expect(ranges.last?.upperBound == size && ranges.count <= 200, "\(ranges.count)")
  }

  @Test("The stream of the latest read is known by where it began, and its window grows as the store wants")
  func latest() {
    let window = Window.remote(largest: 72 << 20, growth: 16)
    let (tensor, size) = (0..<UInt64(1 << 30), UInt64(1 << 30))
    var streams = Streams()
    var end: UInt64 = 0
    for index in 0..<28 {
      let ahead = streams.next(block(index + 1), of: tensor, in: 3, size: size, window)
      #expect(streams.latestStart == block)
      end = max(end, ahead.upperBound)
      _ = streams.next(block(index + 4000), of: tensor, in: 3, size: size, window)
      #expect(streams.latestStart == 4000 * block)
    }
    // 3.5 MiB have been read.
    #expect(end >= 48 << 20, "\(end)")
  }

  @Test("An abandoned stream stops counting as active after enough reads of other streams")
  func active() {
    let window = Window.remote(largest: 8 << 20, growth: 4)
    var streams = Streams()
    for file in [3, 4] as [CInt] {
      for index in 0..<2 { _ = streams.next(block(index), of: tensor, in: file, size: size, window) }
    }
    #expect(streams.active == 2)
    for index in 2..<70 { _ = streams.next(block(index), of: tensor, in: 4, size: size, window) }
    #expect(streams.active == 1)
  }
}
