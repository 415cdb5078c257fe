import Fixtures
import SystemPackage
import Testing

@testable import Models
@testable import Safetensors

@Suite("Tensors assembled from slices") struct AssembledTensorTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// A slice of a tensor: its start and its shape.
  private typealias Box = (start: [Int], shape: [Int])

  /// Writes a file for each list of slices. The whole tensor is U8, and its elements are `data`.
  private func write(_ files: [[Box]], of shape: [Int], _ data: [UInt8]) throws {
    for (number, boxes) in files.enumerated() {
      // A file can have only one slice of a name, so further slices go to further files.
      for (part, box) in boxes.enumerated() {
        let tensor = SafetensorsFile.Tensor("w", "U8", box.shape, data: Self.cut(box, from: data, shape))
        let info = #"{"w": {"saved_offsets": \#(box.start)}}"#
        try directory.write(
          "shard-0000\(number + 1)-model-0000\(part + 1)-of-0000\(boxes.count).safetensors",
          SafetensorsFile(
            [tensor], metadata: ["DCP_SHARDING_INFO": info, "DCP_VERSION": "1.0", "format": "pt"]))
      }
    }
  }

  /// The elements of a slice, gathered one by one.
  private static func cut(_ box: Box, from data: [UInt8], _ shape: [Int]) -> [UInt8] {
    (0..<box.shape.reduce(1, *)).map { position in
      var rest = position
      var offset = 0
      var stride = 1
      for (dimension, extent) in box.shape.enumerated().reversed() {
        offset += (box.start[dimension] + rest % extent) * stride
        rest /= extent
        stride *= shape[dimension]
      }
      return data[offset]
    }
  }

  private func open() throws(ModelError) -> Model {
    try ModelCollection(opening: [directory.path]).components[0].model
  }

  /// Cuts a shape into random slices, along every dimension.
  private static func grid(_ shape: [Int], _ generator: inout SeededGenerator) -> [Box] {
    var boxes: [Box] = [(shape.map { _ in 0 }, shape)]
    for _ in 0..<6 {
      let index = Int.random(in: boxes.indices, using: &generator)
      let dimension = Int.random(in: shape.indices, using: &generator)
      let box = boxes[index]
      guard box.shape[dimension] > 1 else { continue }
      let cut = Int.random(in: 1..<box.shape[dimension], using: &generator)
      boxes[index].shape[dimension] = cut
      var other = box
      other.start[dimension] += cut
      other.shape[dimension] -= cut
      boxes.append(other)
    }
    return boxes
  }

  @Test(
    "Any part of an assembled tensor has the right bytes, however the tensor is sliced", arguments: 0..<24)
  func reading(_ seed: Int) throws {
    var generator = SeededGenerator(seed: UInt64(seed))
    let shape = (0..<(1 + seed % 4)).map { _ in Int.random(in: 1...7, using: &generator) }
    let data = (0..<shape.reduce(1, *)).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) }
    let boxes = Self.grid(shape, &generator)
    try write(boxes.map { [$0] }, of: shape, data)
    let model = try open()
    #expect(model.contents == ["w"])
    let (tensor, shard) = (model.tensor(at: model.places[0]), model.shard(at: model.places[0]))
    #expect(tensor.shape.map { Int($0) } == shape)
    #expect((shard.storedRange(of: tensor) == nil) == (boxes.count > 1))
    for start in 0...data.count {
      let end = Int.random(in: start...data.count, using: &generator)
      #expect(try shard.read(tensor, UInt64(start)..<UInt64(end)) == Array(data[start..<end]))
    }
    // The whole tensor's metadata lacks the entry about slices.
    #expect(
      shard.header.metadata.map { String(decoding: $0.key, as: UTF8.self) } == ["format"] || boxes.count == 1)
  }

  @Test("Long and short runs are read correctly, also if they exceed a buffer")
  func long() throws {
    let shape = [3, 300_000]
    let data = (0..<900_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
    try write([[([0, 0], [3, 100_000])], [([0, 100_000], [3, 200_000])]], of: shape, data)
    let model = try open()
    let (tensor, shard) = (model.tensor(at: model.places[0]), model.shard(at: model.places[0]))
    #expect(try shard.read(tensor, 0..<900_000) == data)
    #expect(try shard.read(tensor, 99_999..<300_001) == Array(data[99_999..<300_001]))
  }

  @Test(
    "A gap or an overlap is refused, with the tensor and the first wrong element",
    arguments: [
      ([([0, 0], [1, 4]), ([2, 0], [1, 4])], "has a gap: no slice holds its element [1, 0]"),
      ([([0, 0], [2, 4]), ([1, 0], [2, 4])], "has slices that overlap at element [1, 0]"),
      ([([0, 0], [3, 2]), ([0, 2], [2, 2])], "has a gap: no slice holds its element [2, 2]"),
      ([([0, 0], [2, 2]), ([1, 1], [2, 3])], "has a gap: no slice holds its element [0, 2]"),
      ([([0, 0], [3, 4]), ([0, 0], [3, 4])], "has slices that overlap at element [0, 0]"),
    ] as [([([Int], [Int])], String)])
  func wrong(_ boxes: [([Int], [Int])], _ clause: String) throws {
    let data = [UInt8](repeating: 1, count: 12)
    try write(boxes.map { [(start: $0.0, shape: $0.1)] }, of: [3, 4], data)
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.kind == .malformed)
    #expect(error?.problem.contains("tensor 'w' of the distributed checkpoint (DCP) \(clause)") == true)
  }

  @Test("Unsliced tensors, scalars and empty tensors beside slices are shown")
  func others() throws {
    let info = #"{"w":{"saved_offsets":[0]},"s":{"saved_offsets":[]},"e":{"saved_offsets":[0,0]}}"#
    try directory.write(
      "shard-00001-model-00001-of-00001.safetensors",
      SafetensorsFile(
        [.init("w", "F32", [2]), .init("s", "F32", []), .init("e", "F32", [0, 3])],
        metadata: ["DCP_SHARDING_INFO": info]))
    try directory.write(
      "shard-00002-model-00001-of-00001.safetensors",
      SafetensorsFile(
        [.init("w", "F32", [3])], metadata: ["DCP_SHARDING_INFO": #"{"w":{"saved_offsets":[2]}}"#]))
    let model = try open()
    #expect(model.contents == ["e", "s", "w"])
    #expect(model.places.map { Array(model.tensor(at: $0).shape) } == [[0, 3], [], [5]])
    #expect(model.storedShards.count == 2)
  }

  @Test("Slices of different dtypes or dimensions, and offsets that overflow, are refused")
  func contradictions() throws {
    func slice(_ number: Int, _ dtype: String, _ shape: [Int], _ start: String) throws {
      try directory.write(
        "shard-0000\(number)-model-00001-of-00001.safetensors",
        SafetensorsFile(
          [.init("w", dtype, shape)], metadata: ["DCP_SHARDING_INFO": #"{"w":{"saved_offsets":\#(start)}}"#]))
    }
    try slice(1, "F32", [2], "[0]")
    for (dtype, shape, start) in [
      ("F16", [2], "[2]"), ("F32", [2, 1], "[2,0]"), ("F32", [2], "[18446744073709551615]"),
      ("F32", [2], "[-1]"),
      ("F32", [2], "[2,0]"), ("F32", [2], #""x""#),
    ] {
      try slice(2, dtype, shape, start)
      #expect(throws: ModelError.self) { try open() }
    }
  }

  @Test("A single file of a distributed checkpoint shows its slices, with a warning")
  func alone() throws {
    try write([[([0], [2])], [([2], [2])]], of: [4], [1, 2, 3, 4])
    let path = directory.path.appending("shard-00002-model-00001-of-00001.safetensors")
    let collection = try ModelCollection(opening: [path])
    #expect(collection.components[0].model.tensor(at: collection.components[0].model.places[0]).shape == [2])
    #expect(collection.warnings.first?.contains("may be slices") == true)
  }

  @Test("Checking a grid of n slices takes time linear in n")
  func proportion() throws {
    func slices(_ side: UInt64) -> [AssembledTensor.Box] {
      (0..<side * side).map { number in
        AssembledTensor.Box(
          place: Model.Place(shard: 0, index: Int32(number)), start: [number / side, number % side],
          shape: [1, 1])
      }
    }
    // Dropping corners that cancel keeps few of them. Comparing each box with all others would take hours.
    try BoxCover.check(slices(200), fill: [200, 200])
    #expect(throws: AssembledTensor.Problem.self) {
      try BoxCover.check(slices(200).dropLast(), fill: [200, 200])
    }
  }

  @Test("An index of slices is a warning, and an index of whole tensors from torch.distributed is not")
  func indexed() throws {
    try write([[([0], [2]), ([0], [2])]], of: [2], [1, 2])
    let shard = "shard-00001-model-00001-of-00002.safetensors"
    try directory.write("model.safetensors.index.json", ShardIndex(["w": shard]))
    let whole = try open()
    #expect(whole.contents == ["w"])
    #expect(whole.shards[0].header.metadata.map { String(decoding: $0.key, as: UTF8.self) } == ["format"])
    #expect(!whole.warnings.contains { $0.contains("are slices") })
    try write([[([1], [1]), ([0], [1])]], of: [2], [1, 2])
    #expect(
      try open().warnings.contains { $0.contains("'\(directory.path)/\(shard)': tensors in this file") })
  }
}
