import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("A model of PyTorch's files") struct PyTorchModelTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func open(_ path: FilePath, lenient: Bool = false) throws(ModelError) -> Model {
    try ModelCollection(opening: [path], OpeningOptions(lenient: lenient)).components[0].model
  }

  private func problem(_ bytes: [UInt8]) throws -> String? {
    let path = try directory.write("broken.pt", bytes)
    return #expect(throws: ModelError.self) { try open(path) }?.problem
  }

  /// A file of one tensor of this name.
  private func file(_ name: String, isLegacy: Bool = false) -> TorchFile {
    var file = TorchFile(isLegacy: isLegacy)
    let tensor = file.tensor("Byte", [2])
    file.object = .pairs([(.string(name), tensor)])
    return file
  }

  // MARK: - One file

  @Test("Names, types, shapes and bytes, in the order of the names", arguments: [false, true])
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
      #expect(shard.file.mappedElements(shard.fileRange(of: tensor)) == file.storages[key].data)
    }
  }

  @Test("Each PyTorch type that the format supports has the format's name")
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
      // Each byte of F4 holds two elements, and the last dimension counts them.
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

  @Test("Of many tensors that are left out, ten are named and the others are counted")
  func manyOmissions() throws {
    var file = TorchFile()
    let storage = file.addStorage("ComplexDouble", count: 1)
    file.object = .list(Array(repeating: file.view(of: storage, [1]), count: 14))
    let model = try open(try directory.write("m.pt", file))
    #expect(model.places.isEmpty && model.omitted.count == 14)
    #expect(model.warnings.count == 11)
    #expect(model.warnings.last?.hasSuffix("4 more tensors left out") == true)
  }

  @Test("F4 pairs that are not contiguous are left out; others keep their strides")
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

  @Test(
    "Two tensors of one name get names of their own, which a warning tells; one that is there twice is one")
  func clashes() throws {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 4)
    let (first, other) = (file.view(of: storage, [2]), file.view(of: storage, offset: 2, [2]))
    file.object = .pairs([
      (.string("a.b"), first), (.string("a"), .dictionary(["b": other])), (.int(0), first),
      (.string("0"), first),
      (.bool(true), first), (.string("True"), file.view(of: storage, [2, 1])), (.string("w"), other),
      // A name that is taken is nobody else's.
      (.string("a.b~1"), first),
    ])
    let model = try open(try directory.write("m.pt", file))
    #expect(model.contents == ["0", "True~1", "True~2", "a.b~1", "a.b~2", "a.b~3", "w"])
    #expect(model.omitted.isEmpty)
    #expect(
      model.warnings.map { $0.split(separator: "m.pt': ").last ?? "" } == [
        "2 tensors have the name 'True', by keys such as 0 and '0'; shown as 'True~1' and so on",
        "2 tensors have the name 'a.b', by keys such as 0 and '0'; shown as 'a.b~2' and so on",
      ])
    for (index, bytes) in [(4, file.storages[storage].data[..<8]), (5, file.storages[storage].data[8...])] {
      let place = model.places[index]
      #expect(try model.shard(at: place).read(model.tensor(at: place), 0..<8) == Array(bytes))
    }
  }

  @Test("Of many names that several tensors have, ten are named and the others counted")
  func manyClashes() throws {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 2)
    file.object = .pairs(
      (0..<30).map { (.string("\($0 / 2)"), file.view(of: storage, offset: $0 % 2, [1])) }
        + (0..<15).map { (.int($0), file.view(of: storage, offset: 1, [1])) })
    let model = try open(try directory.write("m.pt", file))
    // A key that is there twice has its last value, the same as that of the number.
    #expect(model.places.count == 15 && model.warnings.isEmpty)
    file.object = .pairs(
      (0..<30).map {
        ($0 % 2 == 0 ? .int($0 / 2) : .string("\($0 / 2)"), file.view(of: storage, offset: $0 % 2, [1]))
      })
    let other = try open(try directory.write("n.pt", file))
    #expect(other.places.count == 30 && other.warnings.count == 11)
    #expect(other.warnings.last?.hasSuffix("5 more names of several tensors each") == true)
  }

  @Test("One warning names unknown classes, at most forty, escaped")
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

  @Test("Trailing bytes of the old form are an error, and leniently a warning; an archive has none")
  func trailingBytes() throws {
    let path = try directory.write("m.pt", file("w", isLegacy: true).bytes + [0, 0])
    let error = #expect(throws: ModelError.self) { try open(path) }
    #expect(error?.kind == .malformed)
    #expect(error?.problem.hasPrefix("2 unexpected bytes after the last storage") == true)
    #expect(
      try open(path, lenient: true).warnings == ["\(path.printable): 2 bytes after the last tensor left out"])
    let archive = try directory.write("a.pt", file("w").bytes + [0, 0])
    for lenient in [false, true] { #expect(throws: ModelError.self) { try open(archive, lenient: lenient) } }
  }

  @Test(
    "A header of safetensors that looks like an archive is a header; one that an archive's end follows is refused"
  )
  func lookalike() throws {
    // As a length, "PK\3\4" is 67,324,752.
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

  // MARK: - Strides

  @Test(
    "Any part of a tensor at any strides is what its elements are, gathered one by one",
    arguments: 0..<40 as Range<UInt64>)
  func gather(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let (type, width) =
      [("Byte", 1), ("Short", 2), ("Float", 4), ("Double", 8), ("ComplexFloat", 8)]
      .randomElement(using: &generator) ?? ("Byte", 1)
    var file = TorchFile(isLegacy: generator.oneIn(2))
    let storage = file.addStorage(type, count: 40_000)
    let rank = Int.random(in: 1...4, using: &generator)
    // Small enough for the slow gathering, and some so far apart that they are read one by one.
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

  @Test(
    "A tensor that repeats two numbers for 2^62 bytes can be read at any offset; one of 2^63 is refused")
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
      try problem(file.bytes)?.hasPrefix("tensor 't' reaches beyond its storage, or has more bytes") == true)
  }

  // MARK: - Exported programs

  /// The JSON of one tensor.
  private static func description(
    _ name: String, _ path: String, _ shape: [Int], _ strides: [Int], dtype: Int = 7
  )
    -> String
  {
    func numbers(_ numbers: [Int]) -> String {
      "[" + numbers.map { #"{"as_int": \#($0)}"# }.joined(separator: ", ") + "]"
    }
    return
      #""\#(name)": {"path_name": "\#(path)", "is_param": true, "use_pickle": false, "tensor_meta": {"dtype": \#(dtype), "#
      + #""sizes": \#(numbers(shape)), "requires_grad": true, "device": {"type": "cpu", "index": null}, "#
      + #""strides": \#(numbers(strides)), "storage_offset": {"as_int": 0}, "layout": 7}}"#
  }

  private static func exported(_ descriptions: [String], constants: [String] = []) -> ZipFile {
    func config(_ texts: [String]) -> String { #"{"config": {\#(texts.joined(separator: ", "))}}"# }
    return ZipFile([
      .init("m/data/weights/weight_0", Array(0..<24)),
      .init("m/data/weights/model_weights_config.json", config(descriptions).utf8),
      .init("m/data/constants/tensor_0", [7, 0]),
      .init("m/data/constants/model_constants_config.json", config(constants).utf8),
      .init("m/models/model.json", "{}".utf8), .init("m/archive_format", "pt2".utf8),
      .init("m/byteorder", "little".utf8),
    ])
  }

  @Test("A program of torch.export shows its weights and constants as its JSON describes them")
  func exportedProgram() throws {
    let file = Self.exported(
      [
        Self.description("l.weight", "weight_0", [2, 3], [3, 1]),
        Self.description("t", "weight_0", [3, 2], [1, 3]),
      ],
      constants: [Self.description("c", "tensor_0", [1], [1], dtype: 6)])
    let model = try open(try directory.write("m.pt2", file.bytes))
    #expect(model.contents == ["c", "l.weight", "t"] && model.warnings.isEmpty)
    let tensors = model.places.map { model.tensor(at: $0) }
    #expect(
      tensors.map(\.dtype.name) == ["F16", "F32", "F32"]
        && tensors.map(\.isContiguous) == [true, true, false])
    #expect(try model.shards[0].read(tensors[1], 0..<24) == Array(0..<24))
    #expect(try model.shards[0].read(tensors[2], 0..<8) == [0, 1, 2, 3, 12, 13, 14, 15])
  }

  @Test(
    "Weights of an exported program that exceed their storage, or have an invalid description, are refused")
  func brokenExportedProgram() throws {
    func problem(_ descriptions: [String]) throws -> String? {
      try self.problem(Self.exported(descriptions).bytes)
    }
    #expect(
      try problem([Self.description("w", "weight_0", [7], [1])])?.hasPrefix(
        "tensor 'w' reaches beyond its storage") == true)
    #expect(
      try problem([Self.description("w", "weight_9", [1], [1])])
        == "tensor 'w' has a storage that is not there")
    #expect(try problem(["x"])?.contains("does not describe tensors") == true)
    #expect(try problem([Self.description("w", "../weight_0", [1], [1])])?.contains("not there") == true)
  }

  // MARK: - Refusals

  @Test("Messages say which name, at which byte, and what to do")
  func messages() throws {
    let evil = TorchFile(.list([.call(.global("posix", "system"), [.string("touch x")])]))
    let byte = evil.archive.offset(of: "archive/data.pkl") + 4
    #expect(
      try problem(evil.bytes)
        == "this file wants to run 'posix.system' (byte \(byte + 28)), which no model needs: refused, nothing was executed; "
        + "do not load it with torch.load")
    #expect(
      try problem(TorchFile(.list([.global("posix", "system")])).bytes)?.hasPrefix(
        "this file names 'posix.system' (byte \(byte)), which no model needs: refused") == true)
    let escaping = TorchFile(.global("\u{1B}[2J", "os.x"))
    #expect(try problem(escaping.bytes)?.hasPrefix(#"this file names '\u{1b}[2J.os.x'"#) == true)
    #expect(
      try problem(TorchFile(.raw([0x82, 1])).bytes)?.hasPrefix("its pickle has the opcode EXT1 (byte ")
        == true)
    var big = file("w")
    big.byteOrder = "big"
    #expect(try problem(big.bytes)?.hasPrefix("big-endian numbers (byte ") == true)
    var compressed = file("w").archive
    compressed.change("archive/data.pkl") { $0.method = 8 }
    #expect(
      try problem(compressed.bytes)?.hasPrefix("entry 'archive/data.pkl' of the archive is compressed (byte ")
        == true)
    for (name, clause) in [
      (".data/extern_modules", "torch.package"), ("serialized_exported_program.json", "torch.export"),
      ("model.json", "PyTorch 1.0 to 1.2"),
    ] {
      #expect(try problem(ZipFile([.init("m/\(name)", [])]).bytes)?.contains(clause) == true)
    }
    #expect(
      try problem(Array(file("w", isLegacy: true).bytes.dropLast()))?.hasPrefix("truncated at byte ") == true)
    #expect(try problem(Array(file("w").bytes.dropLast()))?.contains("no end record") == true)
  }

  @Test("Another zip archive, and a bare pickle, are identified")
  func foreign() throws {
    let path = try directory.write("x.pt", ZipFile([.init("word/document.xml", [1])]).bytes)
    let error = #expect(throws: ModelError.self) { try open(path) }
    #expect(error?.headerError == .foreignFormat(.zip))
    #expect(error?.problem.contains("no data.pkl is in it") == true)
    #expect(
      try problem(PickledValue.int(1).pickle + [UInt8](repeating: 0, count: 9))?.contains(
        "bare Python pickle") == true)
  }

  // MARK: - Sets and directories

  private func directoryContents() throws -> [String] { try open(directory.path).contents }

  @Test("An index names the tensors of its shards; leaving one out is not an error")
  func index() throws {
    try directory.write("pytorch_model-00001-of-00002.bin", file("a"))
    var second = file("b")
    let wide = second.tensor("ComplexDouble", [1])
    let narrow = second.tensor("Byte", [1])
    second.object = .ordered(["b": narrow, "wide": wide, "extra": narrow])
    try directory.write("pytorch_model-00002-of-00002.bin", second)
    let (one, two) = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    let index = try directory.write(
      "pytorch_model.bin.index.json", ShardIndex(["a": one, "b": two, "wide": two]))
    for source in [index, directory.path] {
      let model = try open(source)
      #expect(model.contents == ["a", "b"])
      #expect(model.omitted.map { "\($0.name)" } == ["'wide'"])
    }
    try directory.write("pytorch_model.bin.index.json", ShardIndex(["a": one, "c": two]))
    let error = #expect(throws: ModelError.self) { try open(index) }
    #expect(error?.problem.hasPrefix("tensor 'c' is missing") == true)
    try directory.write("pytorch_model.bin.index.json", ShardIndex(["a": "../\(one)"]))
    #expect(throws: ModelError.self) { try open(index) }
  }

  @Test("In a directory safetensors takes precedence, then pytorch_model.bin, its index, and a single file")
  func order() throws {
    try directory.write("training_args.bin", text: "no model")
    try directory.write("optimizer.pt", text: "no model")
    try directory.write("lone.pth", file("lone"))
    #expect(try directoryContents() == ["lone"])
    try directory.write("part.bin", file("part"))
    let error = #expect(throws: ModelError.self) { try directoryContents() }
    #expect(error?.problem == "it holds more than one model; name one of 'lone.pth', 'part.bin'")
    try directory.write("pytorch_model.bin.index.json", ShardIndex(["part": "part.bin"]))
    #expect(try directoryContents() == ["part"])
    try directory.write("pytorch_model.bin", file("main"))
    #expect(try directoryContents() == ["main"])
    #expect(
      try open(directory.path).shards.count == 1
        && ModelCollection(opening: [directory.path]).warnings[0].hasSuffix(
          "the model is 'pytorch_model.bin'; 2 other files are left out: 'lone.pth', 'part.bin'")
    )
    try directory.write("any.safetensors", SafetensorsFile(.init("safe", "U8", [1])))
    #expect(try directoryContents() == ["safe"])
  }

  @Test("The parts of a split without an index are one model")
  func bareShards() throws {
    for part in 1...2 { try directory.write("pytorch_model-0000\(part)-of-00002.bin", file("t\(part)")) }
    #expect(try directoryContents() == ["t1", "t2"])
  }

  @Test("A pipeline's components may be of either kind")
  func pipeline() throws {
    try directory.write(
      "model_index.json", text: #"{"unet":["d","U"],"vae":["d","V"],"tokenizer":["t","T"]}"#)
    try directory.write("vae/diffusion_pytorch_model.bin", file("v"))
    try directory.write("unet/diffusion_pytorch_model.safetensors", SafetensorsFile(.init("u", "U8", [1])))
    try directory.write("tokenizer/vocab.json", text: "{}")
    let components = try ModelCollection(opening: [directory.path]).components
    #expect(components.map { String(decoding: $0.name ?? [], as: UTF8.self) } == ["unet", "vae"])
    #expect(components.map(\.model.contents) == [["u"], ["v"]])
  }

  @Test("Files of both formats may be one model together")
  func mixed() throws {
    let paths = [
      try directory.write("a.pt", file("a")),
      try directory.write("b.safetensors", SafetensorsFile(.init("b", "U8", [1]))),
    ]
    let model = try ModelCollection(opening: paths).components[0].model
    #expect(model.contents == ["a", "b"])
    #expect(model.shards.map(\.format) == [.pyTorch, .safetensors])
  }
}
