import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Checkpoints of torch.distributed") struct DistributedModelTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private typealias Chunk = DistributedCheckpoint.Chunk

  private func write(
    _ chunks: [Chunk], shapes: KeyValuePairs<String, [Int]>, metadata: String = ".metadata"
  ) throws {
    try DistributedCheckpoint(chunks, shapes: shapes).write(to: directory, metadata: metadata)
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

  @Test("Slices in several files are assembled, and tensors in one file are mapped directly")
  func whole() throws {
    let all = halves + [Chunk("b", start: [0], shape: [3], data: [7, 8, 9])]
    try write(all, shapes: ["w": [2, 2], "b": [3]])
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

  @Test("Checkpoints with metadata per rank are merged, and replicated tensors appear once")
  func ranks() throws {
    for rank in 0..<2 {
      let replicated = Chunk("r", start: [0], shape: [1], data: [9], file: "__\(rank)_0.distcp")
      try write(
        [halves[rank], replicated], shapes: ["w": [2, 2], "r": [1]], metadata: "__\(rank).metadata")
    }
    #expect(try open().components[0].model.contents == ["r", "w"])
    // The same item twice in one file is an error.
    let twice = Chunk("r", start: [0], shape: [1], data: [9])
    let alone = try TemporaryDirectory()
    try DistributedCheckpoint([twice, twice], shapes: ["r": [1]]).write(to: alone)
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [alone.path]) }
    #expect(error?.problem.contains("overlaps the item before it (byte ") == true)
  }

  @Test("A missing or truncated file, and missing .metadata, are errors that name the file")
  func missing() throws {
    try write(halves, shapes: ["w": [2, 2]])
    let path = directory.path.appending("__1_0.distcp")
    let bytes = try SourceFile(opening: path).read(from: 0, count: 100)
    try directory.write("__1_0.distcp", bytes)
    #expect(refusal().contains("__1_0.distcp"))
    let alone = try TemporaryDirectory()
    try alone.write("__0_0.distcp", bytes)
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [alone.path]) }
    #expect(error?.problem.contains("lacks .metadata") == true)
    try alone.write(".metadata", SmallFile.bytes(of: directory.path.appending(".metadata"), what: "it"))
    let gone = #expect(throws: ModelError.self) { try ModelCollection(opening: [alone.path]) }
    #expect(gone?.kind == .malformed)
  }

  @Test("Gaps, slices outside the shape, wrong shapes, compressed slices and missing files are refused")
  func contradictions() throws {
    try write([halves[0]], shapes: ["w": [2, 2]])
    #expect(refusal().contains("has a gap: no slice holds its element [0, 1]"))
    try write([Chunk(start: [1, 0], shape: [2, 1], data: [1, 3])], shapes: ["w": [2, 1]])
    #expect(refusal().contains("exceeds its shape"))
    var compressed = halves[0]
    compressed.transforms = .list([.string("stream.zstd/1")])
    try write([compressed], shapes: ["w": [2, 1]])
    #expect(refusal().contains("is compressed"))
    try write([halves[0]], shapes: ["w": [2, 1]], metadata: "sub/.metadata")
    let error = #expect(throws: ModelError.self) {
      try ModelCollection(opening: [directory.path.appending("sub")])
    }
    #expect(error?.problem.contains("missing file of the distributed checkpoint") == true)
  }

  @Test("Slices of packed F4 pairs are assembled into tensors of elements, along any dimension")
  func pairs() throws {
    func chunk(_ name: String, _ start: [Int], _ shape: [Int], _ data: [UInt8]) -> Chunk {
      Chunk(name, start: start, shape: shape, data: data, dtype: "float4_e2m1fn_x2")
    }
    try write(
      [
        chunk("columns", [0, 0], [2, 1], [1, 3]), chunk("columns", [0, 1], [2, 1], [2, 4]),
        chunk("rows", [0, 0], [1, 2], [1, 2]), chunk("rows", [1, 0], [1, 2], [3, 4]),
        chunk("scalar", [], [], [9]),
      ], shapes: ["columns": [2, 2], "rows": [2, 2], "scalar": []])
    let model = try open().components[0].model
    #expect(model.contents == ["columns", "rows"])
    for place in model.places {
      let tensor = model.tensor(at: place)
      #expect(tensor.dtype == .f4 && Array(tensor.shape) == [2, 4])
      #expect(try model.shard(at: place).read(tensor, 0..<4) == [1, 2, 3, 4])
    }
    #expect(model.omitted.map { "\($0.name)" } == ["'scalar'"])
  }

  @Test("A symbolic link that leads out of the checkpoint is refused")
  func links() throws {
    try write(halves, shapes: ["w": [2, 2]])
    let elsewhere = try TemporaryDirectory()
    let name = "__1_0.distcp"
    let path = directory.path.appending(name)
    try elsewhere.write(name, SmallFile.bytes(of: path, what: "it"))
    #expect(unsafe unlink("\(path)") == 0)
    try directory.makeLink(name, to: "\(elsewhere.path)/\(name)")
    #expect(refusal().contains("out of the directory"))
  }

  @Test("A .metadata with a name that only attacks use is refused, and nothing is executed")
  func hostile() throws {
    try directory.write("__0_0.distcp", [])
    try directory.write(".metadata", PickledValue.call(.global("posix", "system"), [.string("true")]).pickle)
    #expect(refusal().contains("posix.system"))
    try directory.write(".metadata", PickledValue.dictionary([:]).pickle)
    #expect(refusal().contains("not the .metadata"))
  }
}
