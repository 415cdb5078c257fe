import Fixtures
import Glibc
import SystemPackage
import Testing

import Linux
@testable import Models
import Safetensors

@Suite("Common layouts of directories") struct DirectoryKindsTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func write(_ name: String, _ tensor: String) throws {
    try directory.write(name, SafetensorsFile(.init(tensor, "U8", [1])))
  }

  private func open(_ change: (inout OpeningOptions) -> Void = { _ in }) throws(ModelError) -> ModelCollection
  {
    var options = OpeningOptions()
    change(&options)
    return try ModelCollection(opening: [directory.path], options)
  }

  private func contents(_ change: (inout OpeningOptions) -> Void = { _ in }) throws -> [[String]] {
    try open(change).components.map(\.model.contents)
  }

  @Test(
    "The only PyTorch file in a directory is the model, with any extension in any case",
    arguments: ["m.bin", "m.pt", "m.pth", "m.th", "m.ckpt", "m.pth.tar", "M.BIN", "M.PT", "m.Th"])
  func extensions(name: String) throws {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 1)
    file.object = .ordered(["t": file.view(of: storage, [1])])
    try directory.write(name, file)
    try directory.write("config.json", text: "{}")
    #expect(try contents() == [["t"]])
  }

  // MARK: The Hub's cache

  private let one = String(repeating: "1a", count: 20)
  private let two = String(repeating: "2b", count: 20)

  @Test("A repository in the Hub's cache shows the snapshot of refs/main, or of --revision")
  func revisions() throws {
    try write("snapshots/\(one)/model.safetensors", "one")
    try write("snapshots/\(two)/model.safetensors", "two")
    try directory.write("refs/main", text: "\(two)\n")
    try directory.write("refs/refs/pr/1", text: one)
    #expect(try contents() == [["two"]])
    for revision in [one, "1a1a", "refs/pr/1"] {
      #expect(try contents { $0.revision = revision } == [["one"]])
    }
    for revision in ["1a", "../refs/main", "none", ""] {
      let error = #expect(throws: ModelError.self) { try open { $0.revision = revision } }
      #expect(error?.kind == .noSource)
      #expect(error?.problem.contains("its snapshots are '\(one)', '\(two)'") == true)
    }
  }

  @Test("Without refs/main the only snapshot is used; with several, one must be named")
  func onlySnapshot() throws {
    try write("snapshots/\(one)/model.safetensors", "one")
    try directory.makeDirectory("blobs")
    #expect(try contents() == [["one"]])
    try write("snapshots/\(two)/model.safetensors", "two")
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.problem.contains("no refs/main in it; name a snapshot with --revision") == true)
    try directory.write("refs/main", text: String(repeating: "3c", count: 20))
    let missing = #expect(throws: ModelError.self) { try open() }
    #expect(missing?.problem.hasPrefix("refs/main names the snapshot '3c3c") == true)
  }

  @Test("A link in the cache that became a text file leads only to its blob")
  func textLinks() throws {
    let blob = String(repeating: "ab", count: 20)
    try write("blobs/\(blob)", "blob")
    try directory.write("refs/main", text: one)
    try directory.write("snapshots/\(one)/model.safetensors", text: "../../blobs/\(blob)")
    #expect(try contents() == [["blob"]])
    #expect(try open().components[0].model.shards[0].name == "model.safetensors")
    for target in ["../../blobs/\(two)", "../../../blobs/x", "../../refs/main-and-more", "/blobs/\(blob)"] {
      try directory.write("snapshots/\(one)/model.safetensors", text: target)
      #expect(throws: ModelError.self) { try open() }
    }
  }

  // MARK: Variants and adapters

  @Test(
    "The full model takes precedence over variants; --variant chooses one, and a wrong one is an error that lists them"
  )
  func variants() throws {
    try write("model.safetensors", "full")
    try write("model.fp16.safetensors", "half")
    #expect(try contents() == [["full"]])
    #expect(try open().warnings.contains { $0.contains("'model.fp16.safetensors'") })
    #expect(try contents { $0.variant = "fp16" } == [["half"]])
    try write("model.non_ema.safetensors", "other")
    let error = #expect(throws: ModelError.self) { try open { $0.variant = "no_ema" } }
    #expect(error?.kind == .noSource)
    #expect(error?.problem == "no variant 'no_ema' in it; its variants are 'non_ema', 'fp16'")
  }

  @Test("--variant is an error for a model, ranks or a checkpoint without variants")
  func noVariants() throws {
    for name in ["model.safetensors", "rank0.safetensors", "__0_0.distcp"] {
      let files = try TemporaryDirectory()
      try files.write(name, SafetensorsFile(.init("a", "U8", [1])))
      var options = OpeningOptions()
      options.variant = "fp16"
      let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [files.path], options) }
      #expect(error?.kind == .noSource)
      #expect(error?.problem == "no variant 'fp16' in it; it has no variants: leave out --variant")
    }
  }

  @Test("A variant that no component of a pipeline has is an error that lists the variants of all components")
  func pipelineVariants() throws {
    try directory.write("model_index.json", text: #"{"unet":["d","U"],"vae":["d","V"]}"#)
    for name in ["unet/diffusion_pytorch_model.ema", "unet/diffusion_pytorch_model.fp16", "vae/model"] {
      try write("\(name).safetensors", "t")
    }
    #expect(try contents { $0.variant = "ema" } == [["t"], ["t"]])
    let error = #expect(throws: ModelError.self) { try open { $0.variant = "fp61" } }
    #expect(error?.kind == .noSource && error?.path == directory.path)
    #expect(error?.problem == "no variant 'fp61' in it; its variants are 'fp16', 'ema'")
  }

  @Test("A model with only one variant is shown with a note; with two variants one must be named")
  func onlyVariants() throws {
    try write("model.fp16.safetensors", "half")
    #expect(try contents() == [["half"]])
    #expect(try open().warnings.contains { $0.contains("only the variant 'fp16'") })
    try write("model.non_ema.safetensors", "other")
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.problem.contains("'model.fp16.safetensors', 'model.non_ema.safetensors'") == true)
  }

  @Test("An adapter beside a model is left out with a warning; an adapter alone is the model")
  func adapters() throws {
    try write("adapter_model.safetensors", "lora")
    #expect(try contents() == [["lora"]])
    for part in 1...2 { try write("model-0000\(part)-of-00002.safetensors", "t\(part)") }
    #expect(try contents() == [["t1", "t2"]])
    #expect(try open().warnings.contains { $0.contains("'adapter_model.safetensors'") })
  }

  // MARK: Pipelines

  @Test("A pipeline shows the components of model_index.json, and a warning names the others")
  func pipeline() throws {
    try directory.write(
      "model_index.json", text: #"{"_class_name":"P","unet":["d","U"],"vae":["d","V"],"x":[null,null]}"#)
    try write("unet/diffusion_pytorch_model.safetensors", "u")
    try directory.write("vae/model.onnx", text: "x")
    try write("checkpoint-500/unet/diffusion_pytorch_model.safetensors", "old")
    try write("other/model.safetensors", "other")
    let collection = try open()
    #expect(collection.components.map(\.model.contents) == [["u"]])
    for name in ["'checkpoint-500'", "'other'", "'model.onnx'"] {
      #expect(collection.warnings.contains { $0.contains(name) })
    }
  }

  @Test(
    "Weights of other formats beside a model are named in a warning",
    arguments: ["openvino_model.bin", "model.onnx", "flax_model.msgpack", "checkpoint-500/model.safetensors"])
  func foreignWeights(name: String) throws {
    try write("model.safetensors", "w")
    try directory.write(name, text: "x")
    #expect(try contents() == [["w"]])
    let named = name.split(separator: "/")[0]
    #expect(try open().warnings.contains { $0.contains("'\(named)'") })
  }

  @Test("An ambiguous component is left out with its candidates, and the others are shown")
  func undecided() throws {
    try directory.write("model_index.json", text: #"{"unet":["d","U"],"vae":["d","V"]}"#)
    try write("vae/diffusion_pytorch_model.safetensors", "v")
    for variant in ["fp16", "ema"] { try write("unet/diffusion_pytorch_model.\(variant).safetensors", "u") }
    #expect(try contents() == [["v"]])
    #expect(try open().warnings.contains { $0.contains("'diffusion_pytorch_model.ema.safetensors'") })
  }

  // MARK: Indexes

  @Test("A warning lists tensors and files that an index does not name, and --all shows them")
  func all() throws {
    try directory.write("1.safetensors", SafetensorsFile(.init("a", "U8", [1]), .init("b", "U8", [1])))
    try directory.write("mtp.safetensors", SafetensorsFile(.init("a", "U8", [2]), .init("m", "U8", [1])))
    try directory.write("model.safetensors.index.json", ShardIndex(["a": "./1.safetensors"]))
    #expect(try contents() == [["a"]])
    let warnings = try open().warnings
    #expect(warnings.contains { $0.contains("'b'; left out, --all shows them") })
    #expect(warnings.contains { $0.contains("'mtp.safetensors'; left out, --all shows it") })
    let model = try open { $0.showsAll = true }.components[0].model
    #expect(model.contents == ["a", "b", "m"])
    // Two files have the tensor, and the index decides.
    #expect(model.tensor(at: model.places[0]).byteCount == 1)
  }

  @Test("With --lenient, a tensor missing from its shard is a warning, and counts as left out")
  func missing() throws {
    try write("1.safetensors", "a")
    try directory.write(
      "model.safetensors.index.json", ShardIndex(["a": "1.safetensors", "b": "1.safetensors"]))
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.problem.contains("--lenient") == true)
    let model = try open { $0.isLenient = true }.components[0].model
    #expect(model.contents == ["a"])
    #expect(model.omitted.map(\.name) == ["b"])
    #expect(model.warnings.contains { $0.contains("that the index names: 'b'") })
  }

  @Test(
    "A shard in a subfolder is found; a link out of the directory is refused, unless it leads to a blob of the cache"
  )
  func links() throws {
    try write("model/weights/1.safetensors", "a")
    try write("elsewhere/1.safetensors", "b")
    try write("hub/models--a--b/blobs/\(one)", "a")
    try directory.makeLink("model/inside", to: "weights")
    try directory.makeLink("model/outside", to: "../elsewhere")
    try directory.makeLink("model/in.safetensors", to: "weights/1.safetensors")
    try directory.makeLink("model/out.safetensors", to: "../elsewhere/1.safetensors")
    try directory.makeLink("model/far.safetensors", to: "\(directory.path)/elsewhere/1.safetensors")
    try directory.makeLink("model/chain.safetensors", to: "outside/1.safetensors")
    try directory.makeLink("model/blob.safetensors", to: "../hub/models--a--b/blobs/\(one)")
    let files = [
      ("weights/1.safetensors", true), ("inside/1.safetensors", true), ("in.safetensors", true),
      ("blob.safetensors", true), ("outside/1.safetensors", false), ("out.safetensors", false),
      ("far.safetensors", false), ("chain.safetensors", false),
    ]
    for (file, isInside) in files {
      let index = try directory.write(
        "model/model.safetensors.index.json", ShardIndex([(tensor: isInside ? "a" : "b", file: file)]))
      if isInside {
        #expect(try ModelCollection(opening: [index]).components[0].model.contents == ["a"], "\(file)")
      } else {
        let error = #expect(throws: ModelError.self, "\(file)") { try ModelCollection(opening: [index]) }
        #expect(error?.kind == .malformed && error?.path.fileName == FilePath(file).fileName)
        #expect(
          error?.problem.contains("/elsewhere/1.safetensors', out of the directory ") == true, "\(file)")
      }
    }
  }

  @Test(
    "The shards and the index of a snapshot may be links to blobs of their repository, and to no other files")
  func snapshotLinks() throws {
    let snapshot = "models--a--b/snapshots/\(one)"
    try write("models--a--b/blobs/\(two)", "a")
    try directory.write(
      "models--a--b/blobs/index", ShardIndex([(tensor: "a", file: "sub/1.safetensors")]))
    try directory.makeLink("\(snapshot)/model.safetensors.index.json", to: "../../blobs/index")
    try directory.makeLink("\(snapshot)/sub/1.safetensors", to: "../../../blobs/\(two)")
    try directory.write("models--a--b/refs/main", text: one)
    let repository = directory.path.appending("models--a--b")
    #expect(try ModelCollection(opening: [repository]).components[0].model.contents == ["a"])
    // A link may lead to the whole cache.
    let link = try directory.makeLink("link", to: "models--a--b/snapshots/\(one)")
    #expect(try ModelCollection(opening: [link]).components[0].model.contents == ["a"])
    try write("elsewhere", "a")
    #expect(unsafe unlink("\(directory.path)/\(snapshot)/sub/1.safetensors") == 0)
    try directory.makeLink("\(snapshot)/sub/1.safetensors", to: "../../../../elsewhere")
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [repository]) }
    #expect(error?.problem.contains("out of the directory") == true)
  }

  // MARK: Distributed checkpoints

  @Test("A checkpoint of torch.distributed without its .metadata is identified, with common.pt and without")
  func distributed() throws {
    try directory.write("__0_0.distcp", text: "x")
    var common = TorchFile()
    let tensor = common.tensor("Byte", [2])
    common.object = .pairs([(.string("rng"), tensor)])
    try directory.write("common.pt", common)
    let error = #expect(throws: ModelError.self) { try open() }
    #expect(error?.kind == .malformed)
    #expect(error?.problem.contains("distributed checkpoint (DCP) of PyTorch") == true)
    let part = #expect(throws: ModelError.self) {
      try ModelCollection(opening: [directory.path.appending("__0_0.distcp")])
    }
    #expect(part?.problem.contains("name its directory") == true)
  }
}
