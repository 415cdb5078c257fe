import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("A directory as a source") struct ModelDirectoryTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Writes a file of one tensor, which has the file's name unless another one is given.
  private func write(_ name: String, tensor: String? = nil) throws {
    try directory.write(name, SafetensorsFile(.init(tensor ?? name, "U8", [1])))
  }

  private func open(lenient: Bool = false) throws(ModelError) -> ModelCollection {
    try ModelCollection(opening: [directory.path], OpeningOptions(lenient: lenient))
  }

  /// The names of the tensors of a directory that is one model.
  private func contents() throws -> [String] {
    let components = try open().components
    #expect(components.map(\.name) == [nil])
    return components[0].model.contents
  }

  /// Writes a pipeline's list of components.
  private func writePipeline(_ components: [String]) throws {
    let entries = components.map { #""\#($0)": ["diffusers", "Some\#($0)"]"# }
    try directory.write(
      "model_index.json",
      text: #"{"_class_name": "P", \#(entries.joined(separator: ", ")), "safety_checker": [null, null]}"#)
  }

  // MARK: One model

  @Test(
    "The only safetensors file in a directory is the model, whatever its name",
    arguments: ["model.safetensors", "x y.safetensors", "é.safetensors"])
  func onlyFile(_ name: String) throws {
    try write(name)
    try directory.write("config.json", text: "{}")
    try directory.write("README.md", text: "")
    #expect(try contents() == [name])
    #expect(try open().warnings.isEmpty)
  }

  @Test("The file with the usual name takes precedence over an index, other files and shards")
  func usualName() throws {
    for name in ["model.safetensors", "diffusion_pytorch_model.safetensors"] {
      let directory = try TemporaryDirectory()
      for other in ["a.safetensors", "model-00001-of-00002.safetensors", name] {
        try directory.write(other, SafetensorsFile(.init(other, "U8", [1])))
      }
      try directory.write(name + ".index.json", ShardIndex(["a.safetensors": "a.safetensors"]))
      let collection = try ModelCollection(opening: [directory.path])
      #expect(collection.components[0].model.contents == [name])
      #expect(
        collection.warnings == [
          "\(directory.path.printable): the model is '\(name)'; 2 other files are left out: 'a.safetensors', "
            + "'model-00001-of-00002.safetensors'"
        ])
    }
  }

  @Test("An index takes precedence over the files beside it, even a single one")
  func indexFirst() throws {
    try write("part-a.safetensors", tensor: "a")
    try write("part-b.safetensors", tensor: "b")
    try write("consolidated.safetensors", tensor: "all")
    try directory.write(
      "model.safetensors.index.json", ShardIndex(["a": "part-a.safetensors", "b": "part-b.safetensors"]))
    #expect(try contents() == ["a", "b"])

    // The first file of an unfinished download of two must not pass for the model.
    let partial = try TemporaryDirectory()
    try partial.write("part-a.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    try partial.write(
      "model.safetensors.index.json", ShardIndex(["a": "part-a.safetensors", "b": "part-b.safetensors"]))
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [partial.path]) }
    #expect(error?.kind == .malformed)
    #expect(error?.path == partial.path.appending("part-b.safetensors"))
  }

  @Test("Of several indexes, the one with the usual name is used; otherwise the user must name one")
  func severalIndexes() throws {
    try write("1.safetensors", tensor: "a")
    try write("2.safetensors", tensor: "b")
    try directory.write("model.safetensors.index.fp16.json", ShardIndex(["a": "1.safetensors"]))
    #expect(try contents() == ["a"])
    try directory.write("other.safetensors.index.json", ShardIndex(["b": "2.safetensors"]))
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.kind == .malformed)
    #expect(
      error?.problem
        == "it holds more than one model; name one of 'model.safetensors.index.fp16.json', 'other.safetensors.index.json'"
    )
    try directory.write("model.safetensors.index.json", ShardIndex(["b": "2.safetensors"]))
    #expect(try contents() == ["b"])
  }

  @Test("A single file takes precedence over bare shards, and a warning counts the files left out")
  func loneFileBeforeShards() throws {
    try write("consolidated.safetensors", tensor: "all")
    try write("model-00001-of-00002.safetensors")
    #expect(try contents() == ["all"])
    #expect(try open().warnings.count == 1)
    #expect(try open().warnings[0].hasSuffix("1 other file is left out: 'model-00001-of-00002.safetensors'"))
  }

  @Test("Several files with other names are one model")
  func severalFiles() throws {
    try write("embed.safetensors")
    try write("head.safetensors")
    #expect(try contents() == ["embed.safetensors", "head.safetensors"])
    try write("third.safetensors", tensor: "head.safetensors")
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.problem.contains("if these are two models, name one of them") == true)
    let link = try directory.makeLink("link/one.safetensors", to: "../embed.safetensors")
    let file = directory.path.appending("embed.safetensors")
    let twice = #expect(throws: ModelError.self) { try ModelCollection(opening: [file, link]) }
    #expect(twice?.problem == "this is the same file as '\(file)'; name it once")
  }

  @Test("A symbolic link to a directory is followed")
  func linkedDirectory() throws {
    try write("real/model.safetensors")
    let link = try directory.makeLink("link", to: "real")
    #expect(try ModelCollection(opening: [link]).components[0].model.contents == ["real/model.safetensors"])
  }

  // MARK: Bare shards

  @Test(
    "The parts of a split model are one model",
    arguments: [
      "model-0000%-of-00003.safetensors", "model.fp16-0000%-of-00003.safetensors",
      "model_0000%-of-00003.safetensors",
      "model.safetensors-0000%-of-00003.safetensors", "consolidated-0000%-of-00003.safetensors",
    ])
  func bareShards(_ pattern: String) throws {
    for part in 1...3 {
      try write(String(pattern.map { $0 == "%" ? Character("\(part)") : $0 }), tensor: "t\(part)")
    }
    #expect(try contents() == ["t1", "t2", "t3"])
    // A component with only a variant is shown with a note.
    #expect(try open().warnings.count == (pattern.contains("fp16") ? 1 : 0))
  }

  @Test(
    "A missing part or rank is an error that names it",
    arguments: [
      (
        ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"],
        "part 2 of 3 is missing: 'model-00002-of-00003.safetensors'"
      ),
      (
        ["rank0.safetensors", "rank2.safetensors"],
        "rank1.safetensors is missing, though there are later ranks; download it"
      ),
    ])
  func missingFile(of files: [String], problem: String) throws {
    for file in files { try write(file) }
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.kind == .malformed)
    #expect(error?.problem.hasPrefix(problem) == true)
  }

  @Test("Of two splits, the complete one is used; if both are complete, the user must name one")
  func twoSplits() throws {
    for part in 1...2 { try write("model-0000\(part)-of-00002.safetensors", tensor: "t\(part)") }
    try write("model-00001-of-00003.safetensors", tensor: "t1")
    #expect(try contents() == ["t1", "t2"])
    #expect(
      try open().components[0].model.shards.map(\.name).allSatisfy { $0.hasSuffix("-of-00002.safetensors") })
    #expect(try open().warnings.count == 1)

    for part in 2...3 { try write("model-0000\(part)-of-00003.safetensors", tensor: "t\(part)") }
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.kind == .malformed)
    #expect(
      error?.problem
        == "it holds more than one model; name one of 'model-*-of-00002.safetensors', 'model-*-of-00003.safetensors'"
    )
  }

  @Test("Two incomplete splits are an error")
  func twoBrokenSplits() throws {
    try write("model-00001-of-00002.safetensors")
    try write("model-00001-of-00003.safetensors")
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.problem.hasPrefix("it holds more than one model") == true)
  }

  // MARK: No model

  @Test("A directory without a model is refused, and the error lists what is in it")
  func noModel() throws {
    let empty = #expect(throws: ModelError.self) { try open() }
    #expect(empty?.kind == .noSource)
    #expect(empty?.problem == "no .safetensors file and no PyTorch file in it")
    try directory.write("model.gguf", [])
    try write(".hidden.safetensors")
    let other = #expect(throws: ModelError.self) { try open() }
    #expect(other?.kind == .noSource)
    #expect(
      other?.problem
        == "no .safetensors file and no PyTorch file in it; 'model.gguf' has an unsupported format")
  }

  @Test("Without a model, a few subdirectories are searched, and the error counts the others")
  func manyDirectories() throws {
    func problem() -> String {
      let error = #expect(throws: ModelError.self) { try open() }
      return error?.problem ?? ""
    }
    for number in 10..<50 { try directory.write("\(number)/config.json", text: "{}") }
    // This directory comes after the first 32 names.
    try write("49/model.safetensors")
    #expect(problem() == "no .safetensors file and no PyTorch file in it; 8 more names not examined")
    try write("12/model.safetensors")
    #expect(problem().hasSuffix("; name one of its directories: '12'; 8 more names not examined"))
    // Names without an extension come before names with one.
    for number in 10..<50 { try directory.write("\(number).json", text: "{}") }
    #expect(problem().hasSuffix("; name one of its directories: '12'; 8 more names not examined"))
  }

  // MARK: Caches

  @Test("The shards of a Hugging Face snapshot are found beside its links, not beside their targets")
  func huggingFaceSnapshot() throws {
    try directory.write("blobs/1111", SafetensorsFile(.init("a", "U8", [1])))
    try directory.write("blobs/2222", SafetensorsFile(.init("b", "U8", [2])))
    try directory.write(
      "blobs/3333",
      ShardIndex([
        "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors",
      ]))
    let links = [
      "model-00001-of-00002.safetensors": "1111", "model-00002-of-00002.safetensors": "2222",
      "model.safetensors.index.json": "3333",
    ]
    for (name, blob) in links { try directory.makeLink("snapshots/abc/\(name)", to: "../../blobs/\(blob)") }
    // A file with the name of a shard beside the blobs must not be used.
    try write("blobs/model-00002-of-00002.safetensors", tensor: "wrong")

    let snapshot = directory.path.appending("snapshots/abc")
    for source in [snapshot, snapshot.appending("model.safetensors.index.json")] {
      let model = try ModelCollection(opening: [source]).components[0].model
      #expect(model.contents == ["a", "b"])
      #expect(
        model.shards.map(\.name) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
    }
  }

  // MARK: Several models

  @Test("A diffusers pipeline has one model for each component with weights")
  func pipeline() throws {
    try writePipeline(["unet", "text_encoder", "transformer", "scheduler", "tokenizer"])
    try write("unet/diffusion_pytorch_model.safetensors", tensor: "same")
    try write("text_encoder/model.safetensors", tensor: "same")
    try directory.write("scheduler/scheduler_config.json", text: "{}")
    try directory.write("tokenizer/vocab.json", text: "{}")
    try write("transformer/diffusion_pytorch_model-00001-of-00002.safetensors", tensor: "a")
    try write("transformer/diffusion_pytorch_model-00002-of-00002.safetensors", tensor: "b")
    try directory.write(
      "transformer/diffusion_pytorch_model.safetensors.index.json",
      ShardIndex([
        "a": "diffusion_pytorch_model-00001-of-00002.safetensors",
        "b": "diffusion_pytorch_model-00002-of-00002.safetensors",
      ]))
    let collection = try open()
    #expect(collection.names == ["text_encoder", "transformer", "unet"])
    #expect(collection.components.map(\.model.contents) == [["same"], ["a", "b"], ["same"]])
    #expect(collection.warnings.isEmpty)

    try write("sd-v1-5.safetensors")
    try write("unet/diffusion_pytorch_model.fp16.safetensors")
    #expect(try open().names == ["text_encoder", "transformer", "unet"])
    #expect(try open().warnings.count == 2)
  }

  @Test("If no component of a pipeline has weights, the files beside its index are the model")
  func pipelineWithoutComponents() throws {
    try writePipeline(["scheduler"])
    try directory.write("scheduler/scheduler_config.json", text: "{}")
    #expect(throws: ModelError.self) { try open() }
    try write("all-in-one.safetensors", tensor: "all")
    #expect(try contents() == ["all"])
  }

  @Test("An error in a component names its file")
  func brokenComponent() throws {
    try writePipeline(["unet", "vae"])
    try write("unet/diffusion_pytorch_model.safetensors")
    let broken = try directory.write("vae/diffusion_pytorch_model.safetensors", text: "{}")
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.path == broken)
  }

  @Test("Each rank of a TensorRT-LLM checkpoint is a model, in numerical order")
  func ranks() throws {
    try directory.write("config.json", text: "{}")
    for rank in 0...11 { try write("rank\(rank).safetensors", tensor: "same") }
    let collection = try open()
    #expect(collection.names == (0...11).map { "rank\($0)" })
    #expect(collection.components.allSatisfy { $0.model.contents == ["same"] })
    #expect(collection.warnings.isEmpty)

    try write("rank_zero.safetensors")
    #expect(try open().names.count == 12)
    #expect(try open().warnings.count == 1)
  }
}

extension ModelCollection {
  /// The names of the components.
  fileprivate var names: [String] {
    components.map { String(decoding: $0.name ?? [], as: UTF8.self) }
  }
}
