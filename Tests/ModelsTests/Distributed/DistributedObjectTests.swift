import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Objects in distributed checkpoints") struct DistributedObjectTests {
  private let directory: TemporaryDirectory
  private let slice = DistributedCheckpoint.Chunk(start: [0], shape: [2], data: [1, 2])

  init() throws { directory = try TemporaryDirectory() }

  private typealias Object = DistributedCheckpoint.Object

  private func write(_ objects: [Object], metadata: String = ".metadata") throws {
    try DistributedCheckpoint([slice], shapes: ["w": [2]], objects: objects)
      .write(to: directory, metadata: metadata)
  }

  private func open(_ isChosen: (TensorName) -> Bool = { _ in true }) throws(ModelError) -> Model {
    try ModelCollection(opening: [directory.path], choosing: isChosen).components[0].model
  }

  private func refusal() -> String {
    let error = #expect(throws: ModelError.self) { try open() }
    return error?.description ?? ""
  }

  /// A torch.save file of one object, which `make` builds with tensors of bytes.
  private func saved(_ make: (inout TorchFile) -> PickledValue) -> [UInt8] {
    var file = TorchFile()
    file.object = make(&file)
    return file.bytes
  }

  @Test("Tensors in an object have names below the object's, as in a torch.save file")
  func tensors() throws {
    let model = saved { file in
      let (weight, bias) = (
        file.tensor("Byte", [2, 2], data: [1, 2, 3, 4]), file.tensor("Byte", [1], data: [5])
      )
      return .ordered(["layer": .ordered(["weight": weight, "0": bias])])
    }
    let arguments = saved { file in
      let mean = file.tensor("Byte", [3], data: [6, 7, 8])
      return .state(.instance(.global("trainer", "Config")), .dictionary(["mean": mean]))
    }
    let alone = saved { file in file.tensor("Byte", [1], data: [9]) }
    try write([
      Object("model", model), Object("args", arguments), Object("alone", alone, file: "__1_0.distcp"),
      Object("epoch", saved { _ in .int(3) }),
    ])
    let whole = try open()
    #expect(whole.contents == ["alone", "args.mean", "model.layer.0", "model.layer.weight", "w"])
    #expect(try bytes(whole) == [[9], [6, 7, 8], [5], [1, 2, 3, 4], [1, 2]])
    #expect(whole.omitted.isEmpty)
    #expect(whole.unknownGlobals == [Array("trainer.Config".utf8)])
    #expect(whole.warnings.count == 1)
    #expect(try open { $0 == "model.layer.0" }.contents == ["model.layer.0"])
  }

  @Test("Unsupported dtypes, and objects that torch.save did not write, are omitted by name")
  func omissions() throws {
    let wide = saved { file in
      .dictionary(["wide": file.tensor("ComplexDouble", [1]), "t": file.tensor("Byte", [1])])
    }
    try write([Object("state", wide), Object("raw", [1, 2, 3]), Object("none", [])])
    let model = try open()
    #expect(model.contents == ["state.t", "w"])
    #expect(model.omitted.map { "\($0.name)" } == ["'raw'", "'none'", "'state.wide'"])
    #expect(
      model.warnings.contains { $0.contains("'raw' is an object that torch.save did not write; left out") })
  }

  @Test("Tensors of an object with the same name are renamed, with a warning")
  func clashes() throws {
    let object = saved { file in
      .pairs([(.int(0), file.tensor("Byte", [1])), (.string("0"), file.tensor("Byte", [2]))])
    }
    try write([Object("o", object)])
    let model = try open()
    #expect(model.contents == ["o.0~1", "o.0~2", "w"])
    #expect(model.warnings.contains { $0.contains("2 tensors share the name 'o.0'") })
  }

  private func bytes(_ model: Model) throws -> [[UInt8]] {
    try model.places.map { place in
      let tensor = model.tensor(at: place)
      return try model.shard(at: place).read(tensor, 0..<tensor.byteCount)
    }
  }

  @Test("Tensors of two objects with the same name are renamed, in the order of .metadata")
  func twice() throws {
    func tensor(_ value: UInt8) -> [UInt8] { saved { $0.tensor("Byte", [1], data: [value]) } }
    try write([
      Object("b.c", tensor(3)), Object("a", tensor(4)),
      Object("b", saved { .dictionary(["c": $0.tensor("Byte", [1], data: [5])]) }, file: "__0_1.distcp"),
      Object("b.c~1", tensor(6)),
    ])
    let model = try open()
    #expect(model.contents == ["a", "b.c~1", "b.c~2", "b.c~3", "w"])
    #expect(try bytes(model) == [[4], [6], [3], [5], [1, 2]])
    #expect(model.warnings.count { $0.contains("2 tensors share the name 'b.c'") } == 1)
    #expect(model.warnings.contains { $0.contains("shown as 'b.c~2' and so on") })
    #expect(try open { $0 == "b.c~3" }.contents == ["b.c~3"])
  }

  @Test("A sliced tensor and a tensor in an object with the same name are renamed, whether selected or not")
  func sliceAndObject() throws {
    let slices = (0..<2).map {
      DistributedCheckpoint.Chunk(
        "a.b", start: [$0], shape: [1], data: [UInt8(7 + $0)], file: "__\($0)_0.distcp")
    }
    let object = Object("a", saved { .dictionary(["b": $0.tensor("Byte", [2], data: [1, 2])]) })
    try DistributedCheckpoint(slices, shapes: ["a.b": [2]], objects: [object]).write(to: directory)
    let model = try open()
    // In this .metadata, the tensor comes before the object.
    #expect(model.contents == ["a.b~1", "a.b~2"])
    #expect(try bytes(model) == [[7, 8], [1, 2]])
    #expect(try open { $0 == "a.b~1" }.contents == ["a.b~1"])
    #expect(try open { $0 == "a.b" }.contents.isEmpty)
  }

  @Test("The first rank's version of an object is shown; tensors in versions that differ are omitted by name")
  func copies() throws {
    for rank in 0..<2 {
      let random = saved { file in .dictionary(["t": file.tensor("Byte", [1], data: [UInt8(rank)])]) }
      let same = saved { file in file.tensor("Byte", [1], data: [7]) }
      let file = "__\(rank)_0.distcp"
      try DistributedCheckpoint(
        [], shapes: [:], objects: [Object("rng", random, file: file), Object("mean", same, file: file)]
      ).write(to: directory, metadata: "__\(rank).metadata")
    }
    let model = try open()
    #expect(model.contents == ["mean", "rng.t"])
    #expect(try model.shard(at: model.places[1]).read(model.tensor(at: model.places[1]), 0..<1) == [0])
    #expect(
      model.omitted.map { "\($0.name) \($0.reason)" } == [
        "'rng.t' is in another rank's copy of an object, and the copies differ"
      ])
    #expect(model.warnings.contains { $0.contains("__1_0.distcp': tensor 'rng.t'") })
  }

  @Test("A damaged or hostile object is refused, and the message names the file and the byte")
  func refusals() throws {
    let plain = saved { _ in .none }
    var hostile = TorchFile()
    hostile.object = .call(.global("posix", "system"), [.string("true")])
    try write([Object("first", plain), Object("evil", hostile.bytes)])
    // The byte is that of REDUCE, before STOP.
    let byte = plain.count + hostile.archive.offset(of: "archive/data.pkl") + hostile.object.pickle.count - 2
    #expect(refusal().contains("__0_0.distcp': refused: its pickle calls 'posix.system' (byte \(byte))"))
    try write([Object("cut", Array(plain.dropLast(3)), file: "__1_0.distcp")])
    #expect(refusal().contains("__1_0.distcp': invalid PyTorch file: no zip end record"))
    try directory.write("__1_0.distcp", Array(plain.dropLast(4)))
    #expect(refusal().contains("object 'cut' of the distributed checkpoint (DCP) should end at byte"))
  }

  @Test("Two items that overlap in a file are refused")
  func overlaps() throws {
    let tensor = saved { file in file.tensor("Byte", [100]) }
    try write([Object("a", tensor)])
    var description = try SmallFile.bytes(of: directory.path.appending(".metadata"), what: "it")
    // This is the offset of the slice, which comes after the object.
    let offset = PickledValue.int(tensor.count).opcodes
    let position = try #require(description.indices.last { description[$0...].starts(with: offset) })
    description[position + 1] -= 1
    try directory.write(".metadata", description)
    #expect(refusal().contains("overlaps the item before it (byte "))
  }

  @Test("A tensor whose slices wrap other tensors is omitted by name, and the others are shown")
  func wrapped() throws {
    let chunks = (0..<2).map { number in
      var chunk = DistributedCheckpoint.Chunk(
        "q", start: [number], shape: [1], data: [7], file: "__\(number)_0.distcp")
      chunk.isWrapped = true
      return chunk
    }
    try DistributedCheckpoint(chunks + [slice], shapes: ["q": [2], "w": [2]]).write(to: directory)
    let model = try open()
    #expect(model.contents == ["w"])
    #expect(
      model.omitted.map { "\($0.name) \($0.reason)" }
        == ["'q' is a tensor subclass without elements of its own"])
    #expect(model.unknownGlobals == [Array("ao.Quantized".utf8)])
  }

  @Test("A tensor without slices in .metadata is refused")
  func noSlices() throws {
    try DistributedCheckpoint([], shapes: ["gone": [2]]).write(to: directory)
    #expect(
      refusal().contains(
        "tensor 'gone' of the distributed checkpoint (DCP) has a gap: .metadata lists no slice of it"))
  }

  @Test("A checkpoint without tensors, or with a description of an unknown form, is refused")
  func nothing() throws {
    try DistributedCheckpoint([], shapes: [:]).write(to: directory)
    #expect(refusal().contains("no tensor in this distributed checkpoint (DCP) of PyTorch"))
    let strange = PickledValue.state(
      .instance(.global("torch.distributed._shard.checkpoint.metadata", "ShardedTensorStorageMetadata")),
      .dictionary(["shards": .list([])]))
    let description = PickledValue.state(
      .instance(.global("torch.distributed.checkpoint.metadata", "Metadata")),
      .dictionary([
        "state_dict_metadata": .pairs([(.string("w"), strange)]), "storage_data": .pairs([]),
      ]))
    try directory.write(".metadata", description.pickle)
    #expect(
      refusal().contains("tensor 'w' of the distributed checkpoint (DCP) is described in an unsupported form")
    )
  }
}
