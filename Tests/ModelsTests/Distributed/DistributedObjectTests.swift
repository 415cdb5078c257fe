import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Objects in checkpoints of torch.distributed") struct DistributedObjectTests {
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

  /// A file of torch.save with one object, which `make` puts around tensors of bytes.
  private func saved(_ make: (inout TorchFile) -> PickledValue) -> [UInt8] {
    var file = TorchFile()
    file.object = make(&file)
    return file.bytes
  }

  @Test("Tensors in an object have names below the object's, as in a file of torch.save")
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
    let bytes = try whole.places.map { place in
      let tensor = whole.tensor(at: place)
      return try whole.shard(at: place).read(tensor, 0..<tensor.byteCount)
    }
    #expect(bytes == [[9], [6, 7, 8], [5], [1, 2, 3, 4], [1, 2]])
    #expect(whole.omitted.isEmpty)
    #expect(whole.unknownGlobals == [Array("trainer.Config".utf8)])
    #expect(whole.warnings.count == 1)
    #expect(try open { $0 == "model.layer.0" }.contents == ["model.layer.0"])
  }

  @Test(
    "What cannot be shown of an object is left out by name: other types, and what torch.save has not written")
  func omissions() throws {
    let wide = saved { file in
      .dictionary(["wide": file.tensor("ComplexDouble", [1]), "t": file.tensor("Byte", [1])])
    }
    try write([Object("state", wide), Object("raw", [1, 2, 3]), Object("none", [])])
    let model = try open()
    #expect(model.contents == ["state.t", "w"])
    #expect(model.omitted.map { "\($0.name)" } == ["'raw'", "'none'", "'state.wide'"])
    #expect(
      model.warnings.contains { $0.contains("'raw' is an object that torch.save has not written; left out") })
  }

  @Test("Tensors of one name in an object get names of their own, which a warning tells")
  func clashes() throws {
    let object = saved { file in
      .pairs([(.int(0), file.tensor("Byte", [1])), (.string("0"), file.tensor("Byte", [2]))])
    }
    try write([Object("o", object)])
    let model = try open()
    #expect(model.contents == ["o.0~1", "o.0~2", "w"])
    #expect(model.warnings.contains { $0.contains("2 tensors have the name 'o.0'") })
  }

  @Test("A tensor that two objects have under one name, or an object and a slice, is refused")
  func twice() throws {
    let tensor = saved { file in file.tensor("Byte", [2]) }
    try write([
      Object("a", tensor), Object("b", saved { .dictionary(["c": $0.tensor("Byte", [1])]) }),
      Object("b.c", tensor),
    ])
    #expect(refusal().contains("'b.c'"))
    let slice = DistributedCheckpoint.Chunk("a.b", start: [0], shape: [2], data: [1, 2])
    let object = Object("a", saved { .dictionary(["b": $0.tensor("Byte", [2])]) })
    try DistributedCheckpoint([slice], shapes: ["a.b": [2]], objects: [object]).write(to: directory)
    #expect(refusal().contains("tensor 'a.b' of the distributed checkpoint (DCP) has slices that overlap"))
  }

  @Test(
    "Of objects that ranks have described themselves the first is shown; tensors in different ones are left out by name"
  )
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
    #expect(model.omitted.map { "\($0.name) \($0.reason)" } == ["'rng.t' is in another rank's own object"])
    #expect(model.warnings.contains { $0.contains("__1_0.distcp': tensor 'rng.t'") })
  }

  @Test("A broken or hostile object is refused, and the message names its file and the byte in it")
  func refusals() throws {
    let plain = saved { _ in .none }
    var hostile = TorchFile()
    hostile.object = .call(.global("posix", "system"), [.string("true")])
    try write([Object("first", plain), Object("evil", hostile.bytes)])
    // REDUCE, which STOP follows.
    let byte = plain.count + hostile.archive.offset(of: "archive/data.pkl") + hostile.object.pickle.count - 2
    #expect(refusal().contains("__0_0.distcp': this file wants to run 'posix.system' (byte \(byte))"))
    try write([Object("cut", Array(plain.dropLast(3)), file: "__1_0.distcp")])
    #expect(refusal().contains("__1_0.distcp': the file is broken: truncated zip archive"))
    try directory.write("__1_0.distcp", Array(plain.dropLast(4)))
    #expect(refusal().contains("object 'cut' of the distributed checkpoint (DCP) should end at byte"))
  }

  @Test("Two items with the same bytes of a file are refused")
  func overlaps() throws {
    let tensor = saved { file in file.tensor("Byte", [100]) }
    try write([Object("a", tensor)])
    var description = try SmallFile.bytes(of: directory.path.appending(".metadata"), what: "it")
    // The offset of the slice, which follows the object.
    let offset = PickledValue.int(tensor.count).opcodes
    let position = try #require(description.indices.last { description[$0...].starts(with: offset) })
    description[position + 1] -= 1
    try directory.write(".metadata", description)
    #expect(refusal().contains("overlaps another one in its file"))
  }

  @Test("A checkpoint of objects without a tensor is refused; what it describes in an unknown way, too")
  func nothing() throws {
    try DistributedCheckpoint([], shapes: [:]).write(to: directory)
    #expect(refusal().contains("this distributed checkpoint (DCP) of PyTorch holds no tensor"))
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
      refusal().contains("tensor 'w' of the distributed checkpoint (DCP) is described in an unknown way"))
  }
}
