import Fixtures
import Testing

@testable import Models
import Safetensors

@Suite("Models of PyTorch files") struct PyTorchModelTests: PyTorchSuite {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test("Tensors have the right dtypes, shapes and bytes, sorted by name", arguments: [false, true])
  func oneFile(isLegacy: Bool) throws {
    var file = TorchFile(isLegacy: isLegacy)
    let weight = file.tensor("BFloat16", [2, 3])
    let bias = file.tensor("Float", [3])
    file.object = .ordered(["w": weight, "b": bias])
    let model = try open(try directory.write("weights", file))
    #expect(model.contents == ["b", "w"])
    #expect(model.shards.map(\.format) == [.pyTorch])
    #expect(model.totalSize == 24)
    #expect(model.warnings.isEmpty && model.omitted.isEmpty)
    for (place, key) in zip(model.places, [1, 0]) {
      let (shard, tensor) = (model.shard(at: place), model.tensor(at: place))
      #expect(tensor.isContiguous)
      #expect(try shard.read(tensor, 0..<tensor.byteCount) == file.storages[key].data)
      let range = try #require(shard.storedRange(of: tensor)).range
      #expect(shard.file.mappedElements(range) == file.storages[key].data)
    }
  }

  @Test("Each PyTorch dtype that safetensors supports gets its safetensors name")
  func dtypes() throws {
    let names: KeyValuePairs<String, String?> = [
      "uint8": "U8", "int8": "I8", "bool": "BOOL", "uint16": "U16", "int16": "I16", "uint32": "U32",
      "int32": "I32",
      "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32",
      "float64": "F64",
      "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
      "float8_e4m3fnuz": "F8_E4M3FNUZ",
      "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0", "float4_e2m1fn_x2": "F4",
      "complex32": nil,
      "complex128": nil, "qint8": nil, "bits8": nil, "uint4": nil,
    ]
    var file = TorchFile()
    let storage = file.addStorage("Untyped", count: 64)
    file.object = .pairs(names.map { (.string($0.key), file.view(of: storage, as: $0.key, [2, 2])) })
    let model = try open(try directory.write("m.pt", file))
    for place in model.places {
      let tensor = model.tensor(at: place)
      let name = String(decoding: tensor.name.utf8, as: UTF8.self)
      #expect(tensor.dtype.name == names.first { $0.key == name }?.value, "\(name)")
      // Each byte has two F4 elements, and the last dimension counts elements.
      #expect(Array(tensor.shape) == (tensor.dtype == .f4 ? [2, 4] : [2, 2]), "\(name)")
    }
    #expect(model.places.count == 20)
    #expect(
      model.omitted.map { "\($0.name)" }.sorted() == [
        "'bits8'", "'complex128'", "'complex32'", "'qint8'", "'uint4'",
      ])
    #expect(
      model.warnings.contains {
        $0.hasSuffix("m.pt': tensor 'complex128' is complex128, which safetensors does not support; left out")
      })
  }

  @Test("A warning names the first ten omitted tensors and counts the others")
  func manyOmissions() throws {
    var file = TorchFile()
    let storage = file.addStorage("ComplexDouble", count: 1)
    file.object = .list(Array(repeating: file.view(of: storage, [1]), count: 14))
    let model = try open(try directory.write("m.pt", file))
    #expect(model.places.isEmpty && model.omitted.count == 14)
    #expect(model.warnings.count == 11)
    #expect(model.warnings.last?.hasSuffix("4 more tensors left out") == true)
  }

  @Test("Packed F4 tensors are omitted if they are not contiguous; other dtypes keep their strides")
  func packedPairs() throws {
    var file = TorchFile()
    let storage = file.addStorage("Untyped", count: 12)
    let type = "float4_e2m1fn_x2"
    file.object = .ordered([
      "transposed": file.view(of: storage, as: type, [4, 3], strides: [1, 4]),
      "rows": file.view(of: storage, as: type, [2, 3], strides: [6, 1]),
      "scalar": file.view(of: storage, as: type, []),
    ])
    let model = try open(try directory.write("m.pt", file))
    #expect(model.contents == ["rows"])
    let tensor = model.tensor(at: model.places[0])
    #expect(
      tensor.strides.map { Array($0) } == [12, 1] && Array(tensor.shape) == [2, 6] && tensor.byteCount == 6)
    let data = file.storages[storage].data
    #expect(try model.shards[0].read(tensor, 0..<6) == Array(data[0..<3] + data[6..<9]))
  }

  @Test("Two tensors with the same name are renamed with a warning; a duplicate reference is one tensor")
  func clashes() throws {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 4)
    let (first, other) = (file.view(of: storage, [2]), file.view(of: storage, offset: 2, [2]))
    file.object = .pairs([
      (.string("a.b"), first), (.string("a"), .dictionary(["b": other])), (.int(0), first),
      (.string("0"), first),
      (.bool(true), first), (.string("True"), file.view(of: storage, [2, 1])), (.string("w"), other),
      // A new name must not equal the name of another tensor.
      (.string("a.b~1"), first),
    ])
    let model = try open(try directory.write("m.pt", file))
    #expect(model.contents == ["0", "True~1", "True~2", "a.b~1", "a.b~2", "a.b~3", "w"])
    #expect(model.omitted.isEmpty)
    #expect(
      model.warnings.map { $0.split(separator: "m.pt': ").last ?? "" } == [
        "2 tensors share the name 'True' (keys such as 0 and '0'); shown as 'True~1' and so on",
        "2 tensors share the name 'a.b' (keys such as 0 and '0'); shown as 'a.b~2' and so on",
      ])
    for (index, bytes) in [(4, file.storages[storage].data[..<8]), (5, file.storages[storage].data[8...])] {
      let place = model.places[index]
      #expect(try model.shard(at: place).read(model.tensor(at: place), 0..<8) == Array(bytes))
    }
  }

  @Test("A warning names the first ten shared names and counts the others")
  func manyClashes() throws {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 2)
    file.object = .pairs(
      (0..<30).map { (.string("\($0 / 2)"), file.view(of: storage, offset: $0 % 2, [1])) }
        + (0..<15).map { (.int($0), file.view(of: storage, offset: 1, [1])) })
    let model = try open(try directory.write("m.pt", file))
    // Python keeps the last value of a repeated key, which is here also the value of the number's key.
    #expect(model.places.count == 15 && model.warnings.isEmpty)
    file.object = .pairs(
      (0..<30).map {
        ($0 % 2 == 0 ? .int($0 / 2) : .string("\($0 / 2)"), file.view(of: storage, offset: $0 % 2, [1]))
      })
    let other = try open(try directory.write("n.pt", file))
    #expect(other.places.count == 30 && other.warnings.count == 11)
    #expect(other.warnings.last?.hasSuffix("5 more names with several tensors each") == true)
  }

  @Test("One warning names at most forty unknown classes, escaped")
  func unknownGlobals() throws {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    file.object = .list([
      tensor, .global("trainer\u{1B}[2J", "Config"), .global("b", String(repeating: "x", count: 60_000)),
    ])
    let model = try open(try directory.write("m.pt", file))
    #expect(model.contents == ["0"] && model.omitted.isEmpty && model.warnings.count == 1)
    let warning = try #require(model.warnings.first)
    #expect(
      warning.contains(
        #"m.pt': unknown classes and functions, not executed: 'trainer\u{1b}[2J.Config', 'b.xxx"#))
    #expect(warning.utf8.count < 500)
    file.object = .list((0..<100).map { .global("pack", "C\($0)") })
    let many = try open(try directory.write("many.pt", file))
    #expect(many.warnings.first?.hasSuffix("pack.C39 and 60 more") == true)
    #expect(many.shards[0].unknownGlobals.count == 100)
  }

  @Test(
    "Trailing bytes of a legacy file are an error, and with --lenient a warning; an archive cannot have any")
  func trailingBytes() throws {
    let path = try directory.write("m.pt", file("w", isLegacy: true).bytes + [0, 0])
    let error = #expect(throws: ModelError.self) { try open(path) }
    #expect(error?.kind == .malformed)
    #expect(error?.problem.hasPrefix("2 unexpected bytes after the last storage") == true)
    #expect(
      try open(path, lenient: true).warnings == ["\(path.printable): ignored 2 bytes after the last tensor"])
    let archive = try directory.write("a.pt", file("w").bytes + [0, 0])
    for lenient in [false, true] { #expect(throws: ModelError.self) { try open(archive, lenient: lenient) } }
  }

  @Test("A safetensors file that begins like a zip archive is read, but refused if it also ends like one")
  func lookalike() throws {
    // Read as a header length, "PK\3\4" is 67,324,752.
    func file(_ data: [UInt8]) -> [UInt8] {
      let header = Array(
        #"{"a":{"dtype":"U8","shape":[\#(data.count)],"data_offsets":[0,\#(data.count)]}}"#.utf8)
      let padding = [UInt8](repeating: 0x20, count: 67_324_752 - header.count)
      return SafetensorsFile(header: header + padding, data: data).bytes
    }
    let model = try open(try directory.write("m.safetensors", file([7])))
    #expect(model.contents == ["a"] && model.shards[0].format == .safetensors)
    let both = try directory.write("both.safetensors", file(ZipFile([.init("m/data.pkl", [0x2E])]).bytes))
    let error = #expect(throws: ModelError.self) { try open(both) }
    #expect(error?.problem.hasPrefix("it can be read as safetensors and as an archive of PyTorch") == true)
  }
}
