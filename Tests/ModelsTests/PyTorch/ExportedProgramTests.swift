import Fixtures
import Testing

@testable import Models
import Safetensors

@Suite("torch.export programs") struct ExportedProgramTests: PyTorchSuite {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

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

  @Test("A torch.export program shows the weights and constants that its JSON describes")
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

  @Test("An archive of several programs shows the tensors of each below its name")
  func severalPrograms() throws {
    func config(_ text: String) -> String { #"{"config": {\#(text)}}"# }
    let file = ZipFile([
      .init("m/archive_format", "pt2".utf8), .init("m/data/weights/weight_0", Array(0..<16)),
      .init(
        "m/data/weights/encoder_weights_config.json",
        config(Self.description("w", "weight_0", [2], [1], dtype: 34)).utf8),
      .init(
        "m/data/weights/decoder_weights_config.json",
        config(Self.description("w", "weight_0", [2], [1], dtype: 35)).utf8),
      .init("m/data/constants/encoder_constants_config.json", config("").utf8),
    ])
    let model = try open(try directory.write("m.pt2", file.bytes))
    #expect(model.contents == ["decoder.w", "encoder.w"])
    #expect(model.places.map { model.tensor(at: $0).dtype.name } == ["U64", "U32"])
  }

  @Test("A program with pickled weights, and an archive with only code, are refused")
  func otherPrograms() throws {
    for name in ["m/data/weights/model.pt", "m/data/aotinductor/model/wrapper.so"] {
      let file = ZipFile([.init("m/archive_format", "pt2".utf8), .init(name, [1])])
      #expect(try problem(file.bytes)?.contains("a torch.export program (.pt2) whose weights are") == true)
    }
    let long = String(repeating: "m", count: 300)
    let file = ZipFile([
      .init("m/archive_format", "pt2".utf8), .init("m/data/weights/\(long)_weights_config.json", "{}".utf8),
    ])
    #expect(try problem(file.bytes)?.contains("is not a valid list of tensors") == true)
  }

  @Test(
    "Weights of an exported program that exceed their storage, or have an invalid description, are refused")
  func brokenExportedProgram() throws {
    func problem(_ descriptions: [String]) throws -> String? {
      try self.problem(Self.exported(descriptions).bytes)
    }
    #expect(
      try problem([Self.description("w", "weight_0", [7], [1])])?.hasPrefix(
        "tensor 'w' exceeds its storage") == true)
    #expect(
      try problem([Self.description("w", "weight_9", [1], [1])])
        == "tensor 'w' refers to a missing storage; get another copy, and do not load this one with torch.load"
    )
    #expect(try problem(["x"])?.contains("is not a valid list of tensors") == true)
    #expect(
      try problem([Self.description("w", "../weight_0", [1], [1])])?.contains("missing storage") == true)
  }
}
