import Testing

import TensorFiles

@Suite("Blocks of tensors for parallel work") struct TensorBlockTests {
  @Test("Blocks are contiguous, and only the last one is shorter")
  func whole() {
    let blocks = TensorBlock.all(of: [10, 0, 8, 1], size: 4)
    #expect(blocks.map(\.tensor) == [0, 0, 0, 2, 2, 3])
    #expect(blocks.map(\.numbers) == [0..<4, 4..<8, 8..<10, 0..<4, 4..<8, 0..<1])
  }

  @Test(
    "A tensor of any size has a limited number of blocks, which begin at multiples of the block size",
    arguments: [
      [1 << 62, 5], [UInt64.max / 2, UInt64.max / 2, 3], Array(repeating: 1 << 40, count: 100),
    ] as [[UInt64]])
  func limited(_ counts: [UInt64]) {
    let size: UInt64 = 4 << 20
    let blocks = TensorBlock.all(of: counts, size: size)
    #expect(blocks.count <= 1 << 16 + counts.count)
    for (index, count) in counts.enumerated() {
      let own = blocks.filter { $0.tensor == index }.map(\.numbers)
      #expect(own.first?.lowerBound == 0 && own.last?.upperBound == count)
      #expect(zip(own, own.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(own.allSatisfy { $0.lowerBound % size == 0 })
    }
  }
}
