import Fixtures
import Testing

@testable import Models
import Safetensors

@Suite("Sets and directories of PyTorch files") struct PyTorchSetTests: PyTorchSuite {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func directoryContents() throws -> [String] { try open(directory.path).contents }

  @Test("A PyTorch index may omit tensors of its shards")
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

  @Test("In a directory, safetensors takes precedence, then pytorch_model.bin, its index, and a single file")
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
          "the model is 'pytorch_model.bin'; 4 other files are left out: 'lone.pth', 'optimizer.pt', 'part.bin', "
            + "'training_args.bin'")
    )
    try directory.write("any.safetensors", SafetensorsFile(.init("safe", "U8", [1])))
    #expect(try directoryContents() == ["safe"])
  }

  @Test("The parts of a split without an index are one model")
  func bareShards() throws {
    for part in 1...2 { try directory.write("pytorch_model-0000\(part)-of-00002.bin", file("t\(part)")) }
    #expect(try directoryContents() == ["t1", "t2"])
  }

  @Test("A pipeline may mix safetensors and PyTorch components")
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

  @Test("One model may mix safetensors and PyTorch files")
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
