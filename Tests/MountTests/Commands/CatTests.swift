import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// stcat(1), which writes tensors to standard output.
  @Suite struct CatTests {
    private static let model = SafetensorsFile(
      [
        .init("b", "F32", [500]), .init("layer.0/weight", "BF16", [2, 3]),
        .init("layer.1/weight", "F8_E4M3", [5]),
        .init("n", "I64", [2]), .init("..", "U8", [3]),
      ], metadata: ["format": "pt"])

    private func stcat(_ arguments: String...) async throws -> Outcome {
      try await Command.run("\(Machine.link("stcat"))", arguments)
    }

    private func data(_ names: String...) -> [UInt8] {
      names.flatMap { name in Self.model.tensors.first { $0.name == Array(name.utf8) }?.data ?? [] }
    }

    @Test("Tensors are written one after the other in the order given, by name, path or glob")
    func order() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      for (words, names) in [
        (["n", "b"], ["n", "b"]), (["layer.*"], ["layer.0/weight", "layer.1/weight"]), (["%2E%2E"], [".."]),
        (["b", "l*[1-9]*t", "b"], ["b", "layer.1/weight", "b"]),
      ] {
        let outcome = try await Command.run("\(Machine.link("stcat"))", [source] + words)
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        expectSame(outcome.output, names.flatMap { data($0) }, "\(words)")
      }
    }

    @Test("Each form equals the view's file, for every kind of source")
    func forms() async throws {
      let files = try TemporaryDirectory()
      var torch = TorchFile()
      let storage = torch.addStorage("BFloat16", count: 60_000)
      torch.object = .ordered(["b": torch.view(of: storage, [300, 200], strides: [1, 300])])
      for source in [
        try files.write("m.safetensors", Self.model), try files.write("m.pt", torch),
      ] {
        try await withMount(source) { mount in
          for (form, file) in [
            ("raw", "b"), ("npy", ".npy/b.npy"), ("f32", ".f32/b"),
            ("safetensors", ".safetensors/b.safetensors"),
          ] {
            let outcome = try await stcat("\(source)", "b", "--as", form)
            expectSame(outcome.output, try mount.bytes(file), "\(source) \(form)")
          }
        }
      }
    }

    @Test("Several tensors with --as safetensors equal the model that stpack writes")
    func model() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let outcome = try await stcat("\(source)", "layer.*", "b", "--as", "safetensors")
      let packed = try await Packing.pack(source, options: ["--include", "layer.*", "--include", "b"])
      expectSame(outcome.output, packed, "the model")
      let twice = try await stcat("\(source)", "b", "*", "--as", "safetensors")
      #expect(
        twice.status == 65 && twice.error.contains("'b' is named twice") && twice.output.isEmpty, "\(twice)")
    }

    @Test("--range writes bytes of the file, up to its end")
    func range() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      let all = data("b")
      for (range, expected) in [
        ("3:10", all[3..<10]), (":7", all[..<7]), ("1990:", all[1990...]), ("1999:5000", all[1999...]),
        ("2000:", all[2000...]), ("9000:", all[2000...]), ("5:5", all[5..<5]),
      ] {
        let outcome = try await stcat(source, "b", "--range", range)
        #expect(outcome.status == 0, "\(range)")
        expectSame(outcome.output, expected, range)
      }
      let header = try await stcat(source, "b", "--as", "npy", "--range", ":6")
      #expect(header.output == [0x93] + Array("NUMPY".utf8))
      for range in ["5", "7:3", "-1:4", "a:b", "1:2:3", "99999999999999999999:"] {
        let outcome = try await stcat(source, "b", "--range=\(range)")
        #expect(outcome.status == 64 && outcome.errorLines.count == 1, "\(outcome)")
      }
      let several = try await stcat(source, "b", "n", "--range", ":1")
      #expect(several.status == 64 && several.error.contains("--range takes one tensor"), "\(several)")
    }

    @Test("A terminal gets binary data only with --force")
    func terminal() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write(
        "m.safetensors", SafetensorsFile(.init("t", "U8", [4], data: Array("text".utf8))))
      func onTerminal(_ option: String) async throws -> String {
        let command = "\(try Machine.link("stcat")) \(option) \(path) t || echo status $?"
        return try await Command.output(of: "script", "-qec", command, "/dev/null")
      }
      let refused = try await onTerminal("")
      #expect(
        refused.contains("standard output is a terminal") && refused.contains("status 64"), "\(refused)")
      #expect(try await onTerminal("-f") == "text")
    }

    @Test("A tensor that cannot be written causes one line of error, and no output")
    func failures() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      try files.write("pipe/model_index.json", text: "{}")
      try files.write("pipe/unet/diffusion_pytorch_model.safetensors", SafetensorsFile(.init("u", "U8", [1])))
      try files.write("pipe/vae/diffusion_pytorch_model.safetensors", SafetensorsFile(.init("u", "U8", [1])))
      let pipe = "\(files.path)/pipe"
      for (arguments, status, words) in [
        ([source, "layer.0/wieght"], 66, "the nearest names are 'layer.0/weight', 'layer.1/weight', "),
        ([source, "x*"], 66, "no tensor's name or path matches 'x*'"),
        ([source, "b", "none"], 66, "there is no tensor 'none'"),
        ([source, "n", "--as", "f32"], 65, "tensor 'n' (I64, 1 dimension) cannot be written as f32"),
        ([source], 64, "give a source"), ([], 64, "give a source"),
        (["\(files.path)/no", "b"], 66, "No such file"),
        ([pipe, "u"], 64, "several models have a tensor of that name; give a path, such as 'unet/u'"),
      ] as [([String], Int32, String)] {
        let outcome = try await Command.run("\(Machine.link("stcat"))", arguments)
        #expect(outcome.status == status && outcome.output.isEmpty, "\(outcome)")
        #expect(outcome.errorLines.count == 1 && outcome.error.contains(words), "\(outcome.error)")
      }
      let found = try await stcat(pipe, "vae/u")
      #expect(found.status == 0 && found.output.count == 1, "\(found)")
    }

    @Test("A reader that ends early causes no error message; a source that changes causes one")
    func pipes() async throws {
      let files = try TemporaryDirectory()
      let data = [UInt8](repeating: 7, count: 16 << 20)
      let source = try files.write("m.safetensors", SafetensorsFile(.init("a", "U8", [16 << 20], data: data)))
      let stcat = try Machine.link("stcat")
      let enough = try await Command.run("sh", ["-c", "\(stcat) \(source) a | head -c 5"])
      #expect(enough.output == [7, 7, 7, 7, 7] && enough.error.isEmpty, "\(enough.error)")
      // The source changes while the pipe is full and the command waits.
      let changed = try await Command.run(
        "sh",
        [
          "-c",
          """
          mkfifo p; "$1" "$2" a >p 2>error & exec 3<p; head -c 1 <&3 >/dev/null; touch -m -d @1 "$2"
          cat <&3 >/dev/null; wait $! || echo "status $?"; cat error
          """, "sh", "\(stcat)", "\(source)",
        ], directory: files.path)
      #expect(
        changed.text.hasPrefix("status 65\nstcat: ")
          && changed.text.contains("it changed while it was read"),
        "\(changed)")
    }
  }
}
