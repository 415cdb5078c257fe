import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

/// A directory, and the expected result of opening it. Tensors have the names that the files give them, so a case reads like a
/// listing.
struct DirectoryCase: CustomTestStringConvertible, Sendable {
  enum Content: Sendable, ExpressibleByStringLiteral {
    /// The tensors of a file, in PyTorch's format or safetensors by the file's name. A literal separates their names by spaces.
    case tensors([String])
    case text(String)
    case index([String: String])
    case link(String)
    case directory

    init(stringLiteral names: String) { self = .tensors(names.split(separator: " ").map(String.init)) }
  }

  enum Expectation: Sendable {
    /// The tensors of each model, by the model's name. A single model has no name.
    case models([String: [String]])
    /// The parts that the message must have.
    case refusal([String])

    static func model(_ tensors: String...) -> Expectation { .models(["": tensors]) }
  }

  let testDescription: String
  var files: KeyValuePairs<String, Content>
  /// The source, relative to the directory.
  var source = ""
  var revision: String?
  var variant: String?
  var isLenient = false
  let expected: Expectation
  /// The parts of the expected warnings. One warning must have each part, and each warning must have one of the parts.
  var warnings: [String] = []

  func write(to directory: TemporaryDirectory) throws {
    for (name, content) in files {
      switch content {
      case .tensors(let names):
        let isPyTorch = [".bin", ".pt", ".pth", ".tar", ".ckpt", ".pt2", ".torchscript"].contains {
          name.lowercased().hasSuffix($0)
        }
        if isPyTorch {
          var file = TorchFile()
          file.object = .pairs(names.map { (.string($0), file.tensor("Byte", [1])) })
          try directory.write(name, file)
        } else {
          try directory.write(name, SafetensorsFile(names.map { .init($0, "U8", [1]) }))
        }
      case .text(let text): try directory.write(name, text: text)
      case .index(let map):
        try directory.write(name, ShardIndex(map.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }))
      case .link(let target): try directory.makeLink(name, to: target)
      case .directory: try directory.makeDirectory(name)
      }
    }
  }
}

@Suite("Directories of models, case by case") struct DirectoryCaseTests {
  @Test(
    "A directory shows the expected model, and names what it leaves out",
    arguments: DirectoryCase.cache + DirectoryCase.pipelines + DirectoryCase.plain + DirectoryCase.indexes)
  func directory(_ example: DirectoryCase) throws {
    let directory = try TemporaryDirectory()
    try example.write(to: directory)
    var options = OpeningOptions(lenient: example.isLenient)
    (options.revision, options.variant) = (example.revision, example.variant)
    let source = example.source.isEmpty ? directory.path : directory.path.appending(example.source)
    switch example.expected {
    case .models(let models):
      let collection = try ModelCollection(opening: [source], options)
      let found = collection.components.map {
        (String(decoding: $0.name ?? [], as: UTF8.self), $0.model.contents)
      }
      #expect(Dictionary(uniqueKeysWithValues: found) == models)
      for warning in collection.warnings {
        #expect(example.warnings.contains { warning.contains($0) }, "\(warning)")
      }
      for part in example.warnings {
        #expect(collection.warnings.contains { $0.contains(part) }, "\(part) in \(collection.warnings)")
      }
    case .refusal(let parts):
      let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [source], options) }
      for part in parts { #expect(error?.description.contains(part) == true, "\(part)") }
    }
  }
}

private let (one, two) = (String(repeating: "1a", count: 20), String(repeating: "2b", count: 20))

extension DirectoryCase {
  fileprivate init(
    _ name: String, _ files: KeyValuePairs<String, Content>, _ expected: Expectation,
    warnings: [String] = [], source: String = "", revision: String? = nil, variant: String? = nil,
    lenient: Bool = false
  ) {
    self.init(
      testDescription: name, files: files, source: source, revision: revision, variant: variant,
      isLenient: lenient, expected: expected, warnings: warnings)
  }

  // MARK: - The Hub's cache

  static let cache = [
    DirectoryCase(
      "a cache without refs/main and with one snapshot",
      ["m/blobs": .directory, "m/snapshots/\(one)/model.safetensors": "a"], .model("a"), source: "m"),
    DirectoryCase(
      "a cache without refs and blobs, by its name",
      ["models--a--b/snapshots/\(one)/model.safetensors": "a"], .model("a"), source: "models--a--b"),
    DirectoryCase(
      "a cache without refs/main and with two snapshots",
      [
        "m/blobs": .directory, "m/snapshots/\(one)/model.safetensors": "a",
        "m/snapshots/\(two)/model.safetensors": "b",
      ],
      .refusal(["no refs/main", one, two, "--revision"]), source: "m"),
    DirectoryCase(
      "a cache whose refs/main names a snapshot that is not there",
      ["m/refs/main": .text(two), "m/snapshots/\(one)/model.safetensors": "a"],
      .refusal(["refs/main names the snapshot '\(two)'", "download it again", one]), source: "m"),
    DirectoryCase(
      "a branch",
      [
        "m/refs/main": .text(two), "m/refs/v1.0": .text(one), "m/snapshots/\(one)/model.safetensors": "a",
        "m/snapshots/\(two)/model.safetensors": "b",
      ], .model("a"), source: "m", revision: "v1.0"),
    DirectoryCase(
      "the beginning of a hash",
      [
        "m/refs/main": .text(two), "m/snapshots/\(one)/model.safetensors": "a",
        "m/snapshots/\(two)/model.safetensors": "b",
      ],
      .model("a"), source: "m", revision: "1a1a1"),
    DirectoryCase(
      "a cache without snapshots", ["m/refs/main": .text(one), "m/snapshots": .directory],
      .refusal(["download it again"]), source: "m"),
    DirectoryCase(
      "the root of the cache",
      ["models--a--b/refs/main": .text(one), "models--a--b/snapshots/\(one)/model.safetensors": "a"],
      .refusal(["name one of its directories: 'models--a--b'"])),
    DirectoryCase(
      "a revision of a file", ["m.safetensors": "a"], .refusal(["--revision is for a directory"]),
      source: "m.safetensors", revision: "main"),
  ]

  // MARK: - Pipelines

  private static func index(_ components: String...) -> Content {
    .text(
      #"{"_class_name": ["pipe", "P"], "_name_or_path": "x", "sizes": [1, 2], "safety_checker": [null, null], "#
        + components.map { #""\#($0)": ["diffusers", "\#($0)"]"# }.joined(separator: ", ") + "}")
  }

  static let pipelines = [
    DirectoryCase(
      "a pipeline with absent, optional and foreign components",
      [
        "model_index.json": index("unet", "vae", "scheduler", "text_encoder"),
        "unet/diffusion_pytorch_model.safetensors": "u",
        "scheduler/scheduler_config.json": .text("{}"), "text_encoder/config.json": .text("{}"),
        "safety_checker/model.safetensors": "s", "onnx/model.onnx": .text("x"),
      ],
      .models(["unet": ["u"]]),
      warnings: [
        "names 1 component missing here: 'vae'; download it", "no weights in it beside 'config.json'",
        "2 other entries are left out: 'onnx', 'safety_checker'",
      ]),
    DirectoryCase(
      "components that are sharded variants alone, in both spellings of their names",
      [
        "model_index.json": index("unet", "vae"),
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors": "a",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors": "b",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json": .index([
          "a": "diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
          "b": "diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        ]),
        "vae/diffusion_pytorch_model-00001-of-00002.fp16.safetensors": "c",
        "vae/diffusion_pytorch_model-00002-of-00002.fp16.safetensors": "d",
        "vae/diffusion_pytorch_model.safetensors.fp16.index.json": .index([
          "c": "diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
          "d": "diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
        ]),
      ],
      .models(["unet": ["a", "b"], "vae": ["c", "d"]]), warnings: ["only the variant 'fp16'"]),
    DirectoryCase(
      "components of which one has the chosen variant",
      [
        "model_index.json": index("unet", "vae"), "unet/diffusion_pytorch_model.safetensors": "full",
        "unet/diffusion_pytorch_model-00001-of-00001.fp16.safetensors": "half",
        "unet/diffusion_pytorch_model.safetensors.fp16.index.json": .index([
          "half": "diffusion_pytorch_model-00001-of-00001.fp16.safetensors"
        ]),
        "vae/diffusion_pytorch_model.safetensors": "v",
      ],
      .models(["unet": ["half"], "vae": ["v"]]),
      warnings: ["no variant 'fp16'", "left out: 'diffusion_pytorch_model.safetensors'"], variant: "fp16"),
    DirectoryCase(
      "components in both formats, and in full precision only as .bin",
      [
        "model_index.json": index("unet", "vae"), "unet/diffusion_pytorch_model.safetensors": "u",
        "unet/diffusion_pytorch_model.bin": "other", "vae/diffusion_pytorch_model.bin": "v",
        "vae/diffusion_pytorch_model.fp16.safetensors": "half",
      ],
      .models(["unet": ["u"], "vae": ["v"]]),
      warnings: ["'diffusion_pytorch_model.bin'", "'diffusion_pytorch_model.fp16.safetensors'"]),
    DirectoryCase(
      "a list of ControlNets",
      [
        "model_index.json": .text(
          #"{"controlnet": ["diffusers", "MultiControlNetModel"], "unet": ["d", "U"]}"#),
        "controlnet/diffusion_pytorch_model.safetensors": "a",
        "controlnet_1/diffusion_pytorch_model.safetensors": "b",
        "controlnet_2/diffusion_pytorch_model.safetensors": "c",
        "controlnet_4/diffusion_pytorch_model.safetensors": "e",
        "unet/diffusion_pytorch_model.safetensors": "u", "unet_1/diffusion_pytorch_model.safetensors": "v",
      ],
      .models(["controlnet": ["a"], "controlnet_1": ["b"], "controlnet_2": ["c"], "unet": ["u"]]),
      warnings: ["'controlnet_4', 'unet_1'"]),
    DirectoryCase(
      "what a training run leaves beside a pipeline",
      [
        "model_index.json": index("unet"), "unet/diffusion_pytorch_model.safetensors": "u",
        "checkpoint-500/optimizer.bin": "o", "pytorch_lora_weights.safetensors": "l", "optimizer.bin": "o",
      ],
      .models(["unet": ["u"]]),
      warnings: [
        "3 other entries are left out: 'checkpoint-500', 'optimizer.bin', 'pytorch_lora_weights.safetensors'"
      ]),
  ]

  // MARK: - One model

  static let plain = [
    DirectoryCase(
      "directories beside a model, with weights and without",
      [
        "model.safetensors": "a", "2_Dense/model.safetensors": "d", "1_Pooling/config.json": .text("{}"),
        "onnx/model.onnx": .text("x"), "original/consolidated.00.pth": "c", "docs": .directory,
      ],
      .model("a"), warnings: ["weights in directories are left out: '2_Dense', 'onnx', 'original'"]),
    DirectoryCase(
      "a checkpoint of a training run",
      [
        "model.safetensors": "a", "optimizer.pt": "o", "rng_state.pth": "r", "scheduler.pt": "s",
        "training_args.bin": "t",
        "trainer_state.json": .text("{}"), "global_step500": .directory,
      ],
      .model("a"), warnings: ["'optimizer.pt', 'rng_state.pth', 'scheduler.pt', 'training_args.bin'"]),
    DirectoryCase(
      "a checkpoint of DeepSpeed, of one rank and of two",
      [
        "mp_rank_00_model_states.pt": "a", "zero_pp_rank_0_mp_rank_00_optim_states.pt": "o",
        "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt": "o", "zero_to_fp32.py": .text("x"),
      ],
      .model("a"),
      warnings: [
        "'bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt', 'zero_pp_rank_0_mp_rank_00_optim_states.pt'"
      ]),
    DirectoryCase(
      "a checkpoint of DeepSpeed whose model two ranks share",
      ["mp_rank_00_model_states.pt": "a", "mp_rank_01_model_states.pt": "b", "latest": .text("x")],
      .refusal(["more than one model", "'mp_rank_00_model_states.pt', 'mp_rank_01_model_states.pt'"])),
    DirectoryCase(
      "the root of a run of DeepSpeed",
      [
        "latest": .text("global_step9"), "global_step9/mp_rank_00_model_states.pt": "a",
        "zero_to_fp32.py": .text("x"),
      ],
      .refusal(["name one of its directories: 'global_step9'"])),
    DirectoryCase(
      "a directory two levels above a model",
      ["iter_9/mp_rank_00/model_optim_rng.pt": "a", "iter_9/mp_rank_01/x": .text(""), "b/c": .directory],
      .refusal(["name one of its directories: 'iter_9/mp_rank_00'"])),
    DirectoryCase(
      "a checkpoint of Megatron without its tensors",
      [
        "common.pt": "args", "metadata.json": .text(#"{"sharded_backend": "zarr"}"#),
        "model.w/.zarray": .text("{}"),
      ],
      .refusal(["this is a checkpoint of Megatron without tensors"])),
    DirectoryCase(
      "a file called common.pt beside any other description",
      ["common.pt": "a", "metadata.json": .text(#"{"epoch": 3}"#)], .model("a")),
    DirectoryCase(
      "checkpoints alone",
      ["checkpoint-500/model.safetensors": "a", "checkpoint-1000/model.safetensors": "b"],
      .refusal(["name one of its directories: 'checkpoint-1000', 'checkpoint-500'"])),
    DirectoryCase(
      "an optimizer alone", ["optimizer.pt": "o", "config.json": .text("{}")],
      .refusal(["'optimizer.pt' is a training file: name one to see it"])),
    DirectoryCase("nothing", [:], .refusal(["no .safetensors file and no PyTorch file in it"])),
    DirectoryCase("empty directories", ["a/b": .directory], .refusal(["no PyTorch file in it"])),
    DirectoryCase(
      "formats of other programs",
      ["a.Q4_K_M.GGUF": .text("x"), "b.gguf": .text("x"), "onnx/model.onnx": .text("x")],
      .refusal(["'a.Q4_K_M.GGUF', 'b.gguf', 'onnx' have an unsupported format"])),
    DirectoryCase(
      "a split in upper case", ["M-00001-of-00002.SafeTensors": "a", "M-00002-of-00002.SafeTensors": "b"],
      .model("a", "b")),
    DirectoryCase("a split of .sft", ["m-1-of-2.sft": "a", "m-2-of-2.sft": "b"], .model("a", "b")),
    DirectoryCase("one .SFT", ["Model.SFT": "a"], .model("a")),
    DirectoryCase("one .pth.tar", ["model_best.pth.TAR": "a", "log.txt": .text("")], .model("a")),
    DirectoryCase("one .pt2", ["model.pt2": "a"], .model("a")),
    DirectoryCase(
      "a checkpoint and a program made of it",
      ["best.pt": "a", "best.torchscript": "b", "best.onnx": .text("x")],
      .model("a"), warnings: ["'best.onnx', 'best.torchscript'"]),
    DirectoryCase(
      "two checkpoints", ["best.pt": "a", "last.pt": "b"],
      .refusal(["more than one model", "'best.pt', 'last.pt'"])),
    DirectoryCase(
      "a layer in each file",
      [
        "l00.pt": "a", "l01.pt": "a", "l02.pt": "a", "l03.pt": "a", "l04.pt": "a", "l05.pt": "a",
        "l06.pt": "a",
        "l07.pt": "a", "l08.pt": "a", "l09.pt": "a", "l10.pt": "a", "l11.pt": "a", "l12.pt": "a",
        "l13.pt": "a",
        "l14.pt": "a", "l15.pt": "a", "l16.pt": "a", "l17.pt": "a", "l18.pt": "a", "l19.pt": "a",
        "l20.pt": "a",
        "l21.pt": "a",
      ],
      .refusal(["name one of 'l00.pt', 'l01.pt'", "'l19.pt' and 2 more"])),
    DirectoryCase(
      "an adapter beside a model",
      ["model.safetensors": "a", "adapter_model.safetensors": "l", "adapter_model.bin": "l"],
      .model("a"), warnings: ["'adapter_model.bin', 'adapter_model.safetensors'"]),
    DirectoryCase(
      "a distributed checkpoint, and the whole model",
      ["model.safetensors": "a", ".metadata": .text("x"), "__0_0.distcp": .text("x")],
      .model("a"), warnings: ["'__0_0.distcp'"]),
    DirectoryCase(
      "slices, and the whole model that was made of them",
      [
        "model-00001-of-00001.safetensors": "a",
        "model.safetensors.index.json": .index(["a": "model-00001-of-00001.safetensors"]),
        "sharded/shard-00001-model-00001-of-00001.safetensors": "a",
      ],
      .model("a"), warnings: ["weights in a directory are left out: 'sharded'"]),
    DirectoryCase(
      "a file without a target", ["model.safetensors": .link("gone")], .refusal(["model.safetensors'"])),
    DirectoryCase(
      "one tensor in two files", ["a.safetensors": "x y", "b.safetensors": "y z"],
      .refusal(["tensor 'y' is also in", "if these are two models, name one of them"])),
  ]

  // MARK: - Indexes

  private static let name = "model.safetensors.index.json"

  static let indexes =
    [
      DirectoryCase(
        "an index of subfolders",
        [
          name: .index(["a": "./s/./1.safetensors", "b": "2.safetensors"]), "s/1.safetensors": "a",
          "2.safetensors": "b", "t/1.safetensors": "a",
        ], .model("a", "b"),
        warnings: ["weights in a directory are left out: 't'"]),
      DirectoryCase(
        "an index of a folder", [name: .index(["a": "s"]), "s/1.safetensors": "a"], .refusal(["'a'"])),
      DirectoryCase(
        "a file that the index does not name",
        [name: .index(["a": "1.safetensors"]), "1.safetensors": "a b", "mtp.safetensors": "m"],
        .model("a"), warnings: ["'b'; left out, --all", "'mtp.safetensors'"]),
      DirectoryCase(
        "a tensor that is also in a shard to which the index does not put it",
        [
          name: .index(["a": "1.safetensors", "b": "2.safetensors"]), "1.safetensors": "a b",
          "2.safetensors": "b",
        ],
        .model("a", "b"), warnings: ["1 tensor that the index does not name: 'b'"]),
      DirectoryCase(
        "a tensor that its shard lacks",
        [name: .index(["a": "1.safetensors", "b": "1.safetensors"]), "1.safetensors": "a"],
        .refusal(["tensor 'b' is missing", "--lenient"])),
      DirectoryCase(
        "a tensor that its shard lacks, leniently",
        [name: .index(["a": "1.safetensors", "b": "1.safetensors"]), "1.safetensors": "a"],
        .model("a"), warnings: ["the shards lack 1 tensor that the index names: 'b'"], lenient: true),
      DirectoryCase(
        "an index of PyTorch's files that names one of safetensors",
        [
          "pytorch_model.bin.index.json": .index(["a": "1.bin", "b": "2.safetensors"]), "1.bin": "a",
          "2.safetensors": "b",
        ],
        .model("a", "b"), source: "pytorch_model.bin.index.json"),
    ]
    + ["../1.safetensors", "/etc/1.safetensors", "s/../1.safetensors", "", ".", "s//1.safetensors", "s/"].map
  {
    DirectoryCase(
      "an index of '\($0)'", [name: .index(["a": $0]), "1.safetensors": "a", "s/1.safetensors": "a"],
      .refusal(["is not the path of a file in the index's directory"]))
  }
}
