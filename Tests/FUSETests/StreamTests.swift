import Testing

@testable import FUSE

/// What is announced of a file before it is read: what a reader needs, and more only where one goes on and on.
@Suite struct StreamTests {
  private let region: Range<UInt64> = 1000..<(100 << 20)
  private let block: UInt64 = 128 << 10

  @Test("A read on its own announces its own bytes and nothing else")
  func lone() {
    var stream = Stream()
    #expect(stream.next(5000..<9096, of: region) == 5000..<9096)
    #expect(stream.next(70_000..<74_096, of: region) == 70_000..<74_096)
    #expect(stream.next(20_000..<24_096, of: region) == 20_000..<24_096)
  }

  @Test("A reader who goes on has ever more announced ahead, at most 8 MiB, and everything once")
  func growing() {
    var stream = Stream()
    var announced: UInt64 = 1000
    for index in 0..<UInt64(400) {
      let request = 1000 + index * block..<1000 + (index + 1) * block
      let wanted = stream.next(request, of: region)
      if !wanted.isEmpty {
        #expect(wanted.lowerBound == announced, "request \(index)")
        announced = wanted.upperBound
      }
      #expect(announced >= request.upperBound)
      #expect(announced <= request.upperBound + Stream.largestWindow)
      #expect(announced <= request.upperBound + 2 * (index + 1) * block)
    }
    #expect(announced >= 1000 + 400 * block + Stream.largestWindow / 2)
  }

  @Test("Nothing past the end of the tensor is announced")
  func end() {
    var stream = Stream()
    let small: Range<UInt64> = 0..<(3 * block + 7)
    #expect(stream.next(0..<block, of: small) == 0..<block)
    #expect(stream.next(block..<2 * block, of: small).upperBound == small.upperBound)
    #expect(stream.next(2 * block..<3 * block, of: small).isEmpty)
    #expect(stream.next(3 * block..<small.upperBound, of: small).isEmpty)
  }

  @Test("Requests of one stream may overtake each other")
  func overtaking() {
    var stream = Stream()
    let region = 0..<region.upperBound
    for index in 0..<UInt64(32) { _ = stream.next(index * block..<(index + 1) * block, of: region) }
    let early = stream.next(33 * block..<34 * block, of: region)
    let late = stream.next(32 * block..<33 * block, of: region)
    #expect(early.isEmpty, "within the window")
    #expect(late.isEmpty, "within the window")
    #expect(stream.next(34 * block..<35 * block, of: region).count < 8 << 20)
  }

  @Test("A jump ends the stream: what was read before gives no right to read ahead")
  func jump() {
    var stream = Stream()
    let region = 0..<region.upperBound
    for index in 0..<UInt64(64) { _ = stream.next(index * block..<(index + 1) * block, of: region) }
    let far: UInt64 = 60 << 20
    #expect(stream.next(far..<far + 4096, of: region) == far..<far + 4096)
    let after = stream.next(far + 4096..<far + 8192, of: region)
    #expect(after.upperBound <= far + 8192 + 2 * 8192)
  }

  @Test("Another tensor begins anew")
  func otherRegion() {
    var stream = Stream()
    _ = stream.next(0..<block, of: 0..<10 * block)
    #expect(stream.next(block..<2 * block, of: block..<20 * block) == block..<2 * block)
  }
}
