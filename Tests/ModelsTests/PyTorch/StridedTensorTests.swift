import Fixtures
import Testing

@testable import Models
import Safetensors

@Suite("Tensors with strides") struct StridedTensorTests: PyTorchSuite {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test(
    "Any part of a strided tensor equals its elements gathered one by one",
    arguments: 0..<40 as Range<UInt64>)
  func gather(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let (type, width) =
      [("Byte", 1), ("Short", 2), ("Float", 4), ("Double", 8), ("ComplexFloat", 8)]
      .randomElement(using: &generator) ?? ("Byte", 1)
    var file = TorchFile(isLegacy: generator.oneIn(2))
    let storage = file.addStorage(type, count: 40_000)
    let rank = Int.random(in: 1...4, using: &generator)
    // The tensor is small enough to gather its elements one by one. Some strides are so long that the reader reads single elements.
    var shape: [Int] = []
    var strides: [Int] = []
    var reach = 0
    for _ in 0..<rank {
      let count = Int.random(in: 1...[40, 40, 9, 5][rank - 1], using: &generator)
      let room = count > 1 ? (39_999 - reach) / (count - 1) : 50
      let stride = [0, 1, 2, 7, 40, 1000, 12_000].filter { $0 <= room }.randomElement(using: &generator) ?? 0
      shape.append(count)
      strides.append(stride)
      reach += (count - 1) * stride
    }
    let offset = Int.random(in: 0...39_999 - reach, using: &generator)
    file.object = .dictionary(["t": file.view(of: storage, offset: offset, shape, strides: strides)])
    let model = try open(try directory.write("m.pt", file))
    let tensor = model.tensor(at: model.places[0])
    let expected = file.elements(of: storage, offset: offset, shape, strides: strides, width: width)
    #expect(tensor.byteCount == UInt64(expected.count))
    for round in 0..<60 {
      let start = round == 0 ? 0 : Int.random(in: 0...expected.count, using: &generator)
      let end = round == 0 ? expected.count : Int.random(in: start...expected.count, using: &generator)
      let bytes = try model.shards[0].read(tensor, UInt64(start)..<UInt64(end))
      #expect(bytes == Array(expected[start..<end]), "\(shape), \(strides), \(start)..<\(end)")
    }
  }

  @Test("A tensor that repeats two numbers for 2^62 bytes can be read at any offset; one of 2^63 is refused")
  func expanded() throws {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 3, data: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    file.object = .dictionary([
      "t": file.view(of: storage, offset: 1, [1 << 29, 1 << 30, 2], strides: [0, 0, 1])
    ])
    let model = try open(try directory.write("m.pt", file))
    let tensor = model.tensor(at: model.places[0])
    #expect(tensor.byteCount == 1 << 62 && model.totalSize == 1 << 62)
    for start in [0, 3, 1 << 61 + 5, 1 << 62 - 100_000] as [UInt64] {
      let bytes = try model.shards[0].read(tensor, start..<start + 100_000)
      let expected = (0..<100_000).map { UInt8(5 + (start + $0) % 8) }
      #expect(bytes == expected, "\(start)")
    }
    file.object = .dictionary([
      "t": file.view(of: storage, offset: 1, [1 << 30, 1 << 30, 2], strides: [0, 0, 1])
    ])
    #expect(
      try problem(file.bytes)?.hasPrefix("tensor 't' exceeds its storage, or the maximum size") == true)
  }
}
