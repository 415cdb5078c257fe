import Fixtures
import SystemPackage
import Testing

@testable import Models
@testable import Safetensors

@Suite("Checkpoints of torch.distributed") struct DistributedModelTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// A slice in some file.
  private struct Chunk {
    var name = "w"
    var start: [Int]
    var shape: [Int]
    var data: [UInt8]
    var file = "__0_0.distcp"
    var transforms: PickledValue?
  }

  private static func object(_ name: String, _ fields: KeyValuePairs<String, PickledValue>) -> PickledValue {
    .state(.instance(.global("torch.distributed.checkpoint.metadata", name)), .dictionary(fields))
  }

  private static func size(_ numbers: [Int]) -> PickledValue {
    .call(.global("torch", "Size"), [.tuple(numbers.map { .int($0) })])
  }

  /// Writes the files of some slices, and what describes them.
  private func write(_ chunks: [Chunk], shapes: [(String, [Int])], metadata: String = ".metadata") throws {
    var files: [String: [UInt8]] = [:]
    var storage: [(PickledValue, PickledValue)] = []
    for chunk in chunks {
      var item = TorchFile()
      item.object = item.tensor("Byte", chunk.shape, data: chunk.data)
      let bytes = item.bytes
      let offset = files[chunk.file, default: []].count
      files[chunk.file, default: []] += bytes
      let index = Self.object(
        "MetadataIndex", ["fqn": .string(chunk.name), "offset": Self.size(chunk.start), "index": .int(0)])
      var place: [(PickledValue, PickledValue)] = [
        (.string("relative_path"), .string(chunk.file)), (.string("offset"), .int(offset)),
        (.string("length"), .int(bytes.count)),
      ]
      if let transforms = chunk.transforms { place.append((.string("transform_descriptors"), transforms)) }
      storage.append(
        (
          index,
          .state(.instance(.global("torch.distributed.checkpoint.filesystem", "_StorageInfo")), .pairs(place))
        ))
    }
    let tensors = shapes.map { name, shape in
      let slices = chunks.filter { $0.name == name }.map {
        Self.object("ChunkStorageMetadata", ["offsets": Self.size($0.start), "sizes": Self.size($0.shape)])
      }
      return (
        PickledValue.string(name),
        Self.object("TensorStorageMetadata", ["size": Self.size(shape), "chunks": .list(slices)])
      )
    }
    let bytes = (PickledValue.string("step"), Self.object("BytesStorageMetadata", [:]))
    try directory.write(
      metadata,
      Self.object(
        "Metadata", ["state_dict_metadata": .pairs(tensors + [bytes]), "storage_data": .pairs(storage)]
      ).pickle)
    for (name, bytes) in files { try directory.write(name, bytes) }
  }

  private func open() throws(ModelError) -> ModelCollection { try ModelCollection(opening: [directory.path]) }

  private func refusal() -> String {
    let error = #expect(throws: ModelError.self) { try open() }
    return error?.description ?? ""
  }

  private let halves = [
    Chunk(start: [0, 0], shape: [2, 1], data: [1, 3]),
    Chunk(start: [0, 1], shape: [2, 1], data: [2, 4], file: "__1_0.distcp"),
  ]

  @Test("Slices in several files are whole tensors, and whole ones are shown from where they are")
  func whole() throws {
    let all = halves + [Chunk(name: "b", start: [0], shape: [3], data: [7, 8, 9])]
    try write(all, shapes: [("w", [2, 2]), ("b", [3])])
    try directory.write("common.pt", TorchFile(.dictionary([:])))
    let collection = try open()
    let model = collection.components[0].model
    #expect(model.contents == ["b", "w"])
    for (place, bytes) in zip(model.places, [[7, 8, 9], [1, 2, 3, 4]] as [[UInt8]]) {
      let tensor = model.tensor(at: place)
      #expect(try model.shard(at: place).read(tensor, 0..<tensor.byteCount) == bytes)
    }
    #expect(model.storedShards.map(\.name) == ["__0_0.distcp", "__1_0.distcp"])
    #expect(collection.warnings.contains { $0.contains("'common.pt'") })
    #expect(!collection.warnings.contains { $0.contains("not known") })
  }

  @Test("What each rank has described by itself is one checkpoint")
  func ranks() throws {
    try write([halves[0]], shapes: [("w", [2, 2])], metadata: "__0.metadata")
    try write([halves[1]], shapes: [("w", [2, 2])], metadata: "__1.metadata")
    #expect(try open().components[0].model.contents == ["w"])
  }

  @Test("A file that is missing or was cut off, and .metadata that is missing, are errors that name it")
  func missing() throws {
    try write(halves, shapes: [("w", [2, 2])])
    let path = directory.path.appending("__1_0.distcp")
    let bytes = try SourceFile(opening: path).read(from: 0, count: 100)
    try directory.write("__1_0.distcp", bytes)
    #expect(refusal().contains("__1_0.distcp"))
    let alone = try TemporaryDirectory()
    try alone.write("__0_0.distcp", bytes)
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [alone.path]) }
    #expect(error?.problem.contains("without its .metadata") == true)
    try alone.write(".metadata", SmallFile.bytes(of: directory.path.appending(".metadata"), what: "it"))
    let gone = #expect(throws: ModelError.self) { try ModelCollection(opening: [alone.path]) }
    #expect(gone?.kind == .malformed)
  }

  @Test("Holes, slices outside of the shape, other shapes, compressed slices and missing files are refused")
  func contradictions() throws {
    try write([halves[0]], shapes: [("w", [2, 2])])
    #expect(refusal().contains("has a gap: no slice holds its element [0, 1]"))
    try write([Chunk(start: [1, 0], shape: [2, 1], data: [1, 3])], shapes: [("w", [2, 1])])
    #expect(refusal().contains("ends outside of its shape"))
    var compressed = halves[0]
    compressed.transforms = .list([.string("stream.zstd/1")])
    try write([compressed], shapes: [("w", [2, 1])])
    #expect(refusal().contains("is compressed"))
    try write([halves[0]], shapes: [("w", [2, 1])], metadata: "sub/.metadata")
    let error = #expect(throws: ModelError.self) {
      try ModelCollection(opening: [directory.path.appending("sub")])
    }
    #expect(error?.problem.contains("the file is missing") == true)
  }

  @Test("A .metadata that names what only an attack calls is refused, and nothing is run")
  func hostile() throws {
    try directory.write("__0_0.distcp", [])
    try directory.write(".metadata", PickledValue.call(.global("posix", "system"), [.string("true")]).pickle)
    #expect(refusal().contains("posix.system"))
    try directory.write(".metadata", PickledValue.dictionary([:]).pickle)
    #expect(refusal().contains("not the .metadata"))
  }
}
