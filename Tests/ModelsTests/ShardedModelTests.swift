import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Models with an index") struct ShardedModelTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func write(_ index: ShardIndex) throws -> FilePath {
    try directory.write("model.safetensors.index.json", index)
  }

  private func writeShards() throws {
    try directory.write("1.safetensors", SafetensorsFile(.init("a", "U8", [1]), .init("c", "U8", [2])))
    try directory.write("2.safetensors", SafetensorsFile(.init("b", "U8", [3]), .init("d", "U8", [4])))
  }

  private let complete: KeyValuePairs = [
    "d": "2.safetensors", "a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors",
  ]

  @Test("A sharded set is one model")
  func sharded() throws {
    try writeShards()
    // total_size is advisory, so a wrong value has no effect.
    let path = try write(ShardIndex(complete, totalSize: 1))
    let collection = try ModelCollection(opening: [path])
    let model = collection.components[0].model
    #expect(model.contents == ["a", "b", "c", "d"])
    #expect(
      model.places.map { model.shard(at: $0).name }
        == ["1.safetensors", "2.safetensors", "1.safetensors", "2.safetensors"])
    #expect(model.totalSize == 10)
    #expect(collection.warnings.isEmpty)
  }

  @Test("Tensors that the index does not name are left out, with a warning that counts them")
  func extras() throws {
    try writeShards()
    try directory.write("3.safetensors", SafetensorsFile(.init("e", "U8", [1])))
    let path = try write(ShardIndex(["a": "1.safetensors", "b": "2.safetensors"]))
    let collection = try ModelCollection(opening: [path])
    #expect(collection.components[0].model.contents == ["a", "b"])
    #expect(
      collection.warnings == [
        "\(path.printable): the shards hold 2 tensors that the index does not name: 'c', 'd'; left out, --all shows them"
      ])
  }

  @Test("If two shards have a tensor, the index decides")
  func authority() throws {
    try directory.write("1.safetensors", SafetensorsFile(.init("a", "U8", [1]), .init("b", "U8", [1])))
    try directory.write("2.safetensors", SafetensorsFile(.init("a", "U8", [2])))
    let model = try Model(
      index: try write(ShardIndex(["a": "2.safetensors", "b": "1.safetensors"])), beside: [], OpeningOptions()
    )
    #expect(model.tensor(at: model.places[0]).byteCount == 2)
    #expect(model.warnings.count == 1)
  }

  @Test("A tensor missing from its shard is an error that names it, even if another shard has it")
  func missingTensor() throws {
    try writeShards()
    for index: ShardIndex in [
      ShardIndex(["a": "1.safetensors", "x": "2.safetensors"]), ShardIndex(["x": "2.safetensors"]),
      ShardIndex(["a": "2.safetensors"]),
    ] {
      let path = try write(index)
      let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
      let missing = index.weightMap.count == 1 ? index.weightMap[0].tensor : "x"
      #expect(error?.kind == .malformed)
      #expect(error?.path == directory.path.appending("2.safetensors"))
      #expect(
        error?.problem
          == "tensor '\(missing)' is missing, though the index \(path.printable) puts it here; --lenient shows the others"
      )
    }
  }

  @Test("A missing shard is an error that names it and a tensor of it")
  func missingShard() throws {
    try writeShards()
    let path = try write(
      ShardIndex(["a": "1.safetensors", "y": "3.safetensors", "x": "3.safetensors"]))
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
    #expect(error?.kind == .malformed)
    #expect(error?.path == directory.path.appending("3.safetensors"))
    #expect(error?.problem.hasPrefix("the shard is missing") == true)
    #expect(error?.problem.hasSuffix("download it, or name the shards that are here") == true)
    #expect(error?.problem.contains("puts 2 tensors into it, such as 'x'") == true)
  }

  @Test("A shard with an invalid header is an error")
  func brokenShard() throws {
    try writeShards()
    let path = try directory.write("2.safetensors", text: "version https://git-lfs.github.com/spec/v1\n")
    let error = #expect(throws: ModelError.self) {
      try ModelCollection(opening: [try write(ShardIndex(complete))])
    }
    #expect(error?.headerError == .foreignFormat(.gitLFSPointer))
    #expect(error?.path == path)
  }

  @Test("An invalid index is an error with the byte, or with the file's format")
  func brokenIndex() throws {
    let cases = [
      (
        "{\"weight_map\":[]}",
        "invalid index at byte 14: expected an object of file names, found '['"
      ),
      ("version https://git-lfs.github.com/spec/v1\n", "this is a Git LFS pointer"),
      ("<!doctype html>", "this is an HTML page"),
    ]
    for (text, problem) in cases {
      let path = try directory.write("model.safetensors.index.json", text: text)
      let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
      #expect(error?.kind == .malformed)
      #expect(error?.path == path)
      #expect(error?.problem.hasPrefix(problem) == true)
    }
    let path = try directory.write("model.safetensors.index.json", Array("{\"a\":\"".utf8) + [0xFF])
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
    #expect(error?.problem == "invalid UTF-8 in the index at byte 6")
  }

  @Test("Trailing bytes in a shard are an error, and with --lenient a warning")
  func trailingBytes() throws {
    try writeShards()
    var shard = SafetensorsFile(.init("b", "U8", [3]), .init("d", "U8", [4]))
    shard.trailing = [0]
    try directory.write("2.safetensors", shard)
    let path = try write(ShardIndex(complete))
    #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
    let warnings = try ModelCollection(opening: [path], OpeningOptions(lenient: true)).warnings
    #expect(warnings.count == 1)
    #expect(warnings.first?.contains("1 byte after the last tensor") == true)
  }
}
