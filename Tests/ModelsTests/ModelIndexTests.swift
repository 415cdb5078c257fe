import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Indexes of shards") struct ModelIndexTests {
  @Test("An index lists tensors by name and shards by name")
  func reading() throws {
    let bytes = ShardIndex(
      ["b": "2.safetensors", "a": "1.safetensors", "é/\n": "2.safetensors"], totalSize: 7
    ).bytes
    let index = try ModelIndex.read(bytes)
    #expect(index.shards == [Array("1.safetensors".utf8), Array("2.safetensors".utf8)])
    #expect(index.tensors.map(\.name) == ["a", "b", "é/\n"])
    #expect(index.tensors.map(\.shard) == [0, 1, 1])
  }

  @Test(
    "Other fields of an index are ignored if they are valid JSON",
    arguments: [
      #"{"weight_map":{"a":"f"}}"#, #"{"metadata":{},"weight_map":{"a":"f"}}"#,
      #"{"metadata":null,"weight_map":{"a":"f"}}"#,
      #"{"metadata":{"total_size":-1.5e3,"x":[[]]},"weight_map":{"a":"f"},"more":[1,{}]}"#,
      #" { "weight_map" : { "a" : "f" } } "#, #"{"\u0077eight_map":{"\u0061":"\u0066"}}"#,
    ])
  func otherFields(_ json: String) throws {
    let index = try ModelIndex.read(Array(json.utf8))
    #expect(index.shards == [[UInt8(ascii: "f")]])
    #expect(index.tensors.map(\.name) == ["a"])
  }

  @Test(
    "A shard's name that could lead out of the directory is refused and quoted",
    arguments: [
      "../f", "..", ".", "/etc/passwd", "sub/../f", "sub/..", "f/", "", "sub//f", "./", #"a\u0000b"#,
      #"\u002e\u002e"#,
      #"\/f"#, ".//f",
    ])
  func escapingShards(_ name: String) {
    let json = #"{"weight_map":{"x":"ok","a":"\#(name)"}}"#
    let error = #expect(throws: JSONError.self) { try ModelIndex.read(Array(json.utf8)) }
    #expect(error?.problem.hasSuffix("is not the path of a file in the index's directory") == true)
    #expect(error?.offset == 24)
  }

  @Test("A shard may be in a subfolder, and ./ makes no difference")
  func subfolders() throws {
    let index = try ModelIndex.read(
      Array(#"{"weight_map":{"a":"./f","b":"f","c":"sub/./x/f","d":"sub/x/f","e":"././f"}}"#.utf8))
    #expect(index.shards == ["f", "sub/x/f"].map { Array($0.utf8) })
    #expect(index.tensors.map(\.shard) == [0, 0, 1, 1, 0])
  }

  @Test("A shard may have any other name", arguments: ["...", "..f", "a b", #"é"#, #"\\"#, "~", "-rf"])
  func oddShards(_ name: String) throws {
    #expect(try ModelIndex.read(Array(#"{"weight_map":{"a":"\#(name)"}}"#.utf8)).shards.count == 1)
  }

  @Test(
    "An invalid index is refused",
    arguments: [
      ("", "expected the index's '{'"), ("[]", "expected the index's '{'"), ("{}", "no weight_map in it"),
      (#"{"weight_map":{}}"#, "names no tensor"),
      (#"{"weight_map":null}"#, "expected an object of file names"),
      (#"{"weight_map":{"a":1}}"#, "expected a shard's file name"),
      (#"{"weight_map":{"a":"f"}"#, "expected ',' or '}'"),
      (#"{"weight_map":{"a":"f"},}"#, "expected a key"),
      (#"{"weight_map":{"a":"f"}}{}"#, "expected nothing more"),
      (#"{"weight_map":{"a":"f"},"weight_map":{"b":"f"}}"#, "duplicate weight_map"),
      (#"{"weight_map":{"a":"f","b":"f","a":"g"}}"#, "duplicate tensor 'a' in weight_map"),
      (#"{"weight_map":{"a":"f","\u0061":"f"}}"#, "duplicate tensor 'a' in weight_map"),
      (#"{"weight_map":{"a":"f"},"x":1e999}"#, "the number is out of range"),
    ])
  func broken(_ json: String, _ problem: String) {
    let error = #expect(throws: JSONError.self) { try ModelIndex.read(Array(json.utf8)) }
    #expect(error?.problem.contains(problem) == true)
  }

  @Test("A duplicate name is reported with the byte of the second entry")
  func duplicateOffset() {
    let json = Array(#"{"weight_map":{"a":"f", "b":"f",  "a":"g"}}"#.utf8)
    #expect(throws: JSONError(offset: 34, problem: "duplicate tensor 'a' in weight_map")) {
      try ModelIndex.read(json)
    }
  }

  @Test(
    "Indexes are recognised by their file names",
    arguments: [
      ("model.safetensors.index.json", true), ("diffusion_pytorch_model.safetensors.index.json", true),
      ("model.safetensors.index.fp16.json", true), ("model.safetensors", false), ("config.json", false),
      ("pytorch_model.bin.index.json", true), ("bin.index.txt", false), ("model.safetensors.index", false),
      ("model_index.json", false),
    ])
  func names(_ name: String, _ isIndex: Bool) { #expect(ModelIndex.isIndex(name.utf8) == isIndex) }
}
