import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// stls(1), which lists without mounting.
  @Suite struct StlsTests {
    private static let model = SafetensorsFile(
      [.init("b", "F32", [500]), .init("a", "BF16", [2, 3]), .init("scalar", "I64", [])],
      metadata: ["format": "pt"])

    private func stls(_ arguments: String...) async throws -> Outcome {
      try await Command.run("\(Machine.stls)", arguments)
    }

    @Test("Name, dtype, shape and size in columns, and a line with the total")
    func columns() async throws {
      let files = try TemporaryDirectory()
      let outcome = try await stls("\(files.write("m.safetensors", Self.model))")
      #expect(outcome.status == 0 && outcome.error.isEmpty)
      #expect(
        outcome.text == """
          a       BF16  [2, 3]    12
          b       F32   [500]   2000
          scalar  I64   []         8
          total 2020 in 3 tensors, 1 file
          """)
    }

    @Test("--sort orders by size, the largest first, or by place in the file; -h gives sizes in words")
    func order() async throws {
      let files = try TemporaryDirectory()
      let path = "\(try files.write("m.safetensors", Self.model))"
      func names(_ outcome: Outcome) -> [Substring?] {
        outcome.text.split(separator: "\n").map { $0.split(separator: " ").first }
      }
      #expect(names(try await stls("--sort", "size", path)) == ["b", "a", "scalar", "total"])
      #expect(names(try await stls("--sort", "offset", path)) == ["b", "a", "scalar", "total"])
      #expect(names(try await stls("--sort", "name", path)) == ["a", "b", "scalar", "total"])
      let human = try await stls("-h", path).text
      #expect(human.contains("[500]   2.0K\n") && human.hasSuffix("total 2.0K in 3 tensors, 1 file"))
    }

    @Test("--json is metadata.json of the mount, byte for byte", arguments: [false, true])
    func json(isSharded: Bool) async throws {
      let files = try TemporaryDirectory()
      try files.write("model-00001-of-00002.safetensors", SafetensorsFile(.init("a\u{1b}/x", "F32", [3])))
      try files.write("model-00002-of-00002.safetensors", Self.model)
      let source = isSharded ? files.path : files.path.appending("model-00002-of-00002.safetensors")
      let listed = try await stls("--json", "\(source)")
      #expect(listed.status == 0)
      try await withMount(source) { mount in
        let document = try mount.bytes("metadata.json")
        #expect(document == listed.output)
      }
    }

    @Test("A sharded set by its index, a directory of components, and several files, as stmount takes them")
    func sources() async throws {
      let files = try TemporaryDirectory()
      let one = try files.write("set/one.safetensors", SafetensorsFile(.init("a", "U8", [1])))
      let two = try files.write("set/two.safetensors", SafetensorsFile(.init("b", "U8", [2])))
      let index = try files.write(
        "set/model.safetensors.index.json", ShardIndex(["a": "one.safetensors", "b": "two.safetensors"]))
      for arguments in [["\(index)"], ["\(one)", "\(two)"]] {
        let outcome = try await Command.run("\(Machine.stls)", arguments)
        #expect(outcome.text == "a  U8  [1]  1\nb  U8  [2]  2\ntotal 3 in 2 tensors, 2 files", "\(outcome)")
      }
      try files.write("pipe/model_index.json", text: "{}")
      try files.write("pipe/unet/diffusion_pytorch_model.safetensors", SafetensorsFile(.init("u", "U8", [1])))
      try files.write("pipe/vae/diffusion_pytorch_model.safetensors", SafetensorsFile(.init("v", "U8", [1])))
      let pipeline = try await stls("\(files.path)/pipe")
      #expect(
        pipeline.text == """
          unet/
          u  U8  [1]  1
          total 1 in 1 tensor, 1 file
          vae/
          v  U8  [1]  1
          total 1 in 1 tensor, 1 file
          """, "\(pipeline)")
    }

    @Test("-q says by its status alone whether a model is sound")
    func quiet() async throws {
      let files = try TemporaryDirectory()
      var broken = Self.model
      broken.trailing = [0]
      let sound = try await stls("-q", "\(files.write("m.safetensors", Self.model))")
      #expect(sound.status == 0 && sound.output.isEmpty && sound.error.isEmpty)
      let unsound = try await stls("-q", "\(files.write("b.safetensors", broken))")
      #expect(unsound.status == 65 && unsound.output.isEmpty && unsound.errorLines.count == 1)
      let missing = try await stls("-q", "\(files.path)/none")
      #expect(missing.status == 66)
      #expect(try await stls("-q").status == 64)
    }

    @Test("Names from strangers are escaped; nothing is coloured but on a terminal, and there only if wanted")
    func terminal() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", SafetensorsFile(.init("a\u{1b}[31mred\u{202e}", "U8", [1])))
      let outcome = try await stls("\(path)")
      #expect(outcome.text.hasPrefix(#"'a\u{1b}[31mred\u{202e}'  U8"#), "\(outcome.text)")
      #expect(!outcome.output.contains(0x1B))
      // script(1) gives the command a terminal.
      func onTerminal(_ environment: String) async throws -> String {
        let command = "env -u NO_COLOR \(environment) \(try Machine.stls) \(path)"
        return try await Command.output(of: "script", "-qec", command, "/dev/null")
      }
      let coloured = try await onTerminal("TERM=xterm")
      #expect(coloured.contains("\u{1b}[2mU8\u{1b}[0m"), "\(coloured.debugDescription)")
      for environment in ["TERM=xterm NO_COLOR=1", "TERM=dumb"] {
        #expect(try await !onTerminal(environment).contains("\u{1b}"))
      }
    }

    @Test("A model of 400 GB is listed as fast as a small one: only its header is read")
    func large() async throws {
      let files = try TemporaryDirectory()
      let size = 400_000_000_000
      let header = #"{"w":{"dtype":"U8","shape":[\#(size)],"data_offsets":[0,\#(size)]}}"#
      let file = SafetensorsFile(header: header)
      let path = try files.write("large.safetensors", file)
      let descriptor = try FileDescriptor.open(path, .readWrite)
      try descriptor.closeAfter { try descriptor.resize(to: Int64(file.bytes.count + size)) }
      let start = ContinuousClock.now
      let outcome = try await stls("-h", "\(path)")
      #expect(ContinuousClock.now - start < .seconds(10))
      #expect(outcome.text.hasSuffix("373G\ntotal 373G in 1 tensor, 1 file"), "\(outcome)")
    }

    @Test("A total beyond 64 bits, as of tensors that repeat one element, is said to be more")
    func hugeTotal() async throws {
      let files = try TemporaryDirectory()
      var torch = TorchFile()
      let storage = torch.addStorage("Byte", count: 1)
      torch.object = .ordered([
        "a": torch.view(of: storage, [.max], strides: [0]),
        "b": torch.view(of: storage, [.max], strides: [0]),
        "c": torch.view(of: storage, [.max], strides: [0]),
      ])
      let path = try files.write("m.pt", torch)
      let outcome = try await stls("\(path)")
      #expect(outcome.status == 0, "\(outcome)")
      #expect(
        outcome.text.hasSuffix("total more than 18446744073709551615 in 3 tensors, 1 file"), "\(outcome)")
      #expect(try await stls("-h", "\(path)").text.contains("total more than 16E in"))
      let dry = try await Packing.run(["\(path)", "-n", "-o", "\(files.path)/out"])
      #expect(dry.status == 65 && dry.error.contains("larger than a file can be"), "\(dry)")
    }

    @Test("A reader that has seen enough is no error message")
    func brokenPipe() async throws {
      let files = try TemporaryDirectory()
      let tensors = (0..<5000).map { SafetensorsFile.Tensor("tensor.\($0)", "U8", [0]) }
      let path = try files.write("m.safetensors", SafetensorsFile(tensors))
      let outcome = try await Command.run("sh", ["-c", "\(Machine.stls) \(path) | head -n 1"])
      #expect(outcome.text == "tensor.0     U8  [0]  0" && outcome.error.isEmpty, "\(outcome)")
    }
  }
}
