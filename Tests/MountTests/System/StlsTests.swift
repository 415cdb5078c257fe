import Fixtures
import Glibc
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

    @Test("stls prints name, dtype, shape and size in columns, and a line with the total")
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
          507 parameters: F32 500, BF16 6, I64 1
          """)
    }

    @Test("--sort orders by size, the largest first, or by place in the file; -h prints sizes with units")
    func order() async throws {
      let files = try TemporaryDirectory()
      let path = "\(try files.write("m.safetensors", Self.model))"
      func names(_ outcome: Outcome) -> [Substring?] {
        outcome.text.split(separator: "\n").map { $0.split(separator: " ").first }
      }
      #expect(names(try await stls("--sort", "size", path)) == ["b", "a", "scalar", "total", "507"])
      #expect(names(try await stls("--sort", "offset", path)) == ["b", "a", "scalar", "total", "507"])
      #expect(names(try await stls("--sort", "name", path)) == ["a", "b", "scalar", "total", "507"])
      let human = try await stls("-h", path).text
      #expect(human.contains("[500]   2.0K\n") && human.contains("\ntotal 2.0K in 3 tensors, 1 file\n"))
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

    @Test("stls lists a sharded set by its index, a directory of components, and several files")
    func sources() async throws {
      let files = try TemporaryDirectory()
      let one = try files.write("set/one.safetensors", SafetensorsFile(.init("a", "U8", [1])))
      let two = try files.write("set/two.safetensors", SafetensorsFile(.init("b", "U8", [2])))
      let index = try files.write(
        "set/model.safetensors.index.json", ShardIndex(["a": "one.safetensors", "b": "two.safetensors"]))
      for arguments in [["\(index)"], ["\(one)", "\(two)"]] {
        let outcome = try await Command.run("\(Machine.stls)", arguments)
        #expect(
          outcome.text == "a  U8  [1]  1\nb  U8  [2]  2\ntotal 3 in 2 tensors, 2 files\n3 parameters: U8 3",
          "\(outcome)")
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
          1 parameter: U8 1
          vae/
          v  U8  [1]  1
          total 1 in 1 tensor, 1 file
          1 parameter: U8 1
          """, "\(pipeline)")
    }

    @Test("-q reports only by the exit status whether a model is sound")
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

    @Test("Names from strangers are escaped; output is coloured only on a terminal, and only if wanted")
    func terminal() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", SafetensorsFile(.init("a\u{1b}[31mred\u{202e}", "U8", [1])))
      let outcome = try await stls("\(path)")
      #expect(outcome.text.hasPrefix(#"'a\u{1b}[31mred\u{202e}'  U8"#), "\(outcome.text)")
      #expect(!outcome.output.contains(0x1B))
      // script(1) gives the command a terminal.
      func onTerminal(_ environment: String, _ options: String = "") async throws -> String {
        let arguments = options.isEmpty ? "\(path)" : options
        let command = "env -u NO_COLOR \(environment) \(try Machine.stls) \(arguments)"
        return try await Command.output(of: "script", "-qec", command, "/dev/null")
      }
      let coloured = try await onTerminal("TERM=xterm")
      #expect(coloured.contains("\u{1b}[2mU8\u{1b}[0m"), "\(coloured.debugDescription)")
      for environment in ["TERM=xterm NO_COLOR=1", "TERM=dumb"] {
        #expect(try await !onTerminal(environment).contains("\u{1b}"))
      }
      // A manifest, and the document of a copied mount, are for programs, unless a terminal shows them.
      let tensor = #""path": "a", "dtype": "U8", "shape": [1], "nbytes": 1"#
      try files.write("copy/metadata.json", text: "{\"tensors\": {\"red\u{202e}\": {\(tensor)}}}")
      try files.write("copy/a", [1])
      for options in ["--hash sha256 \(path)", "--json \(files.path)/copy"] {
        let shown = try await onTerminal("TERM=xterm", options)
        #expect(!shown.contains("\u{1b}") && !shown.contains("\u{202e}"), "\(shown.debugDescription)")
        #expect(shown.contains("202e"), "\(shown)")
        let piped = try await Command.run("sh", ["-c", "\(Machine.stls) \(options)"])
        #expect(piped.text.contains("\u{202e}"), "\(piped.text.debugDescription)")
      }
    }

    @Test("A closed standard output is an error of every command that prints")
    func closedOutput() async throws {
      let files = try TemporaryDirectory()
      let path = "\(try files.write("m.safetensors", SafetensorsFile(.init("a", "U8", [1]))))"
      let other = "\(try files.write("n.safetensors", SafetensorsFile(.init("b", "U8", [1]))))"
      for (command, arguments) in [
        ("stls", [path]), ("stls", ["--json", path]), ("stls", ["--hash", "sha256", path]),
        ("stls", ["--stats", path]), ("stcat", [path, "a"]), ("stdiff", [path, other]),
        ("stpack", [path, "-o", "-"]), ("stpack", ["-n", path]), ("stunpack", ["--help"]),
        ("stmount", ["--version"]), ("stls", ["--generate-completion-script", "bash"]),
      ] {
        let outcome = try await Command.run(
          "sh", ["-c", #"exec "$@" >&-"#, "sh", "\(Machine.link(command))"] + arguments)
        #expect(outcome.status == (command == "stdiff" ? 2 : 71), "\(command) \(arguments): \(outcome)")
        #expect(
          outcome.errorLines.count == 1 && outcome.error.contains("standard output"), "\(outcome.error)")
      }
      // Nothing is to be printed.
      #expect(try await Command.run("sh", ["-c", "exec \(Machine.stls) -q \(path) >&-"]).status == 0)
    }

    @Test("A model of 400 GB is listed as fast as a small one: only its header is read")
    func large() async throws {
      let files = try TemporaryDirectory()
      let path = try files.writeSparse("large.safetensors", size: 400_000_000_000)
      // The store counts the bytes that are read.
      try await withStore([]) { store in
        try #require(unsafe rename("\(path)", "\(store.below.appending("large.safetensors"))") == 0)
        let outcome = try await stls("-h", "\(store.path.appending("large.safetensors"))")
        let counts = try store.counts
        #expect(counts.bytes < 2 << 20, "\(counts)")
        #expect(
          outcome.text.hasSuffix("373G\ntotal 373G in 1 tensor, 1 file\n400B parameters: U8 400B"),
          "\(outcome)")
      }
    }

    @Test("A total beyond 64 bits, as of tensors that repeat one element, is printed as more")
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
        outcome.text.contains("\ntotal more than 18446744073709551615 in 3 tensors, 1 file\n"), "\(outcome)")
      #expect(try await stls("-h", "\(path)").text.contains("total more than 16E in"))
      let dry = try await Packing.run(["\(path)", "-n", "-o", "\(files.path)/out"])
      #expect(dry.status == 65 && dry.error.contains("larger than a file can be"), "\(dry)")
    }

    @Test("-h alone prints the help; completion offers files as sources")
    func help() async throws {
      let help = try await stls("-h")
      #expect(help.status == 0 && help.error.isEmpty && help.text.contains("USAGE: stls"), "\(help)")
      #expect(try await stls("--help").output == help.output)
      let script = try await stls("--generate-completion-script", "fish").text
      #expect(script.contains("' -F\n"), "\(script)")
    }

    @Test("--include and --exclude match the whole name, before a tensor is checked")
    func selection() async throws {
      let files = try TemporaryDirectory()
      try files.write("one.safetensors", Self.model)
      try files.write("two.safetensors", SafetensorsFile(.init("b", "U8", [1]), .init("c/d", "U8", [2])))
      func names(_ options: String...) async throws -> [Substring] {
        let outcome = try await Command.run("\(Machine.stls)", options + ["\(files.path)"])
        #expect(outcome.status == 0, "\(outcome)")
        return outcome.text.split(separator: "\n").dropLast(2).compactMap { $0.split(separator: " ").first }
      }
      // Both files have a tensor "b".
      #expect(try await names("--exclude", "b") == ["a", "c/d", "scalar"])
      #expect(try await names("--include", "s*", "--include", "c*d") == ["c/d", "scalar"])
      let unused = try await stls("--include", "x*", "--exclude", "b", "\(files.path)")
      #expect(
        unused.status == 66 && unused.error.contains("no tensor's name matches --include 'x*'"), "\(unused)")
    }

    @Test("A mount, and a copy of one, are listed as the model is; a truncated file is unsound")
    func mounted() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let expected = try await stls("\(source)").text.replacing("1 file\n", with: "3 files\n")
      try await withMount(source) { mount in
        #expect(try await stls("\(mount.path)").text == expected)
        #expect(try await stls("--json", "\(mount.path)").output == mount.bytes("metadata.json"))
        try await Command.output(of: "cp", "-r", "\(mount.path)", "\(files.path)/copy")
      }
      let copy = "\(files.path)/copy"
      #expect(try await stls(copy).text == expected)
      #expect(
        try await stls("--include", "a", copy).text
          == "a  BF16  [2, 3]  12\ntotal 12 in 1 tensor, 1 file\n6 parameters: BF16 6")
      #expect(try await stls("--json", "--include", "a", copy).status == 64)
      try await Command.output(of: "truncate", "-s", "7", "\(copy)/a")
      let broken = try await stls("-q", copy)
      #expect(broken.status == 65 && broken.error.contains("metadata.json gives tensor 'a' 12"), "\(broken)")
      #expect(try await stls("-q", "--exclude", "a", copy).status == 0)
    }

    @Test(
      "Parameter counts have few digits",
      arguments: [
        (0, "0 parameters: U8 0"), (9999, "9999 parameters: U8 9999"), (10_000, "10.0K parameters: U8 10.0K"),
        (22_713_216, "22.7M parameters: U8 22.7M"), (99_950_000, "100M parameters: U8 100M"),
        (999_600_000, "1.00B parameters: U8 1.00B"), (7_241_732_096, "7.24B parameters: U8 7.24B"),
        (1_260_000_000_000, "1.26T parameters: U8 1.26T"),
      ])
    func parameters(count: Int, expected: String) async throws {
      let files = try TemporaryDirectory()
      var torch = TorchFile()
      let storage = torch.addStorage("Byte", count: 1)
      torch.object = .ordered(["a": torch.view(of: storage, [count], strides: [0])])
      let outcome = try await stls("\(files.write("m.pt", torch))")
      #expect(outcome.text.hasSuffix("\n" + expected), "\(outcome)")
    }

    @Test("A reader that ends early causes no error message")
    func brokenPipe() async throws {
      let files = try TemporaryDirectory()
      let tensors = (0..<5000).map { SafetensorsFile.Tensor("tensor.\($0)", "U8", [0]) }
      let path = try files.write("m.safetensors", SafetensorsFile(tensors))
      let outcome = try await Command.run("sh", ["-c", "\(Machine.stls) \(path) | head -n 1"])
      #expect(outcome.text == "tensor.0     U8  [0]  0" && outcome.error.isEmpty, "\(outcome)")
    }
  }
}
