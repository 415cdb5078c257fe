import Fixtures
import SystemPackage
import Testing

extension CommandTests {
  /// Inputs and outputs that stpack(1) refuses. It leaves nothing behind.
  @Suite struct PackFailureTests {
    private static let model = SafetensorsFile(.init("a", "F32", [3]), .init("b", "U8", [1]))

    @Test(
      "A wrong command line is refused",
      arguments: [
        ([], "at least one input"), (["m"], "-o OUT"), (["-o", "out"], "at least one input"),
        (["m", "-o", "/"], "-o OUT"), (["m", "-o", "missing/"], "add the file's name"),
        (["m", "-o"], "Missing value for '-o'; see"),
        (["m", "-o", "out", "--max-shard-size", "5"], "must end in .safetensors"),
        (["m", "-o", "out", "--max-shard-size", "0"], "is not a size"),
        (["m", "-o", "out", "--max-shard-size", "5 elephants"], "is not a size"),
        (["m", "-o", "out", "--max-shard-size", "-5GB"], ""),
        (["m", "-o", "out", "--align", "12"], "multiple of 8"),
        (["m", "-o", "out", "--align", "0"], "multiple of 8"),
        (["m", "-o", "out", "--rename", "a/b"], "expected s/RE/REPLACEMENT/"),
        (["m", "-o", "out", "--rename", "s/a/b"], "expected s/RE/REPLACEMENT/"),
        (["m", "-o", "out", "--rename", "s/a/b/gx"], "the only flag is g"),
        (["m", "-o", "out", "--rename", "s/(/b/"], "--rename 's/(/b/': "),
        (["m", "-o", "out", "--rename", #"s/(a)/\2/"#], #"there is no group \2"#),
        (["m", "-o", "out", "--rename", #"s/a/\n/"#], #"\n in a replacement is not supported"#),
        (["m", "-o", "out", "--rename", #"s/(a)/\U\1/"#], #"\U in a replacement is not supported"#),
        (["m", "-o", "out", "--rename", #"s/\d/x/"#], #"\d in an expression is not supported"#),
        (["m", "-o", "out", "--metadata", "k"], "expected KEY=VALUE"),
        (["m", "-o", "out", "--no-such-option"], "no-such-option"),
      ] as [([String], String)])
    func usage(arguments: [String], problem: String) async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let arguments = arguments.map { argument in
        argument == "m" ? "\(source)" : argument == "out" ? "\(files.path)/out" : argument
      }
      try await Packing.expectFailure(arguments, in: files, status: 64, says: problem)
    }

    @Test("Names that a file cannot have, or that two tensors would share, are refused")
    func names() async throws {
      let files = try TemporaryDirectory()
      let one = try files.write("one.safetensors", Self.model)
      let two = try files.write(
        "two.safetensors", SafetensorsFile(.init("b", "U8", [1]), .init("é", "U8", [1])))
      let out = ["-o", "\(files.path)/out.safetensors"]
      func fails(_ arguments: [String], status: Int32 = 65, _ words: String) async throws {
        try await Packing.expectFailure(arguments + out, in: files, status: status, says: words)
      }
      try await fails(["\(one)", "\(two)"], "tensor 'b' is in '\(one)' and in '\(two)'")
      try await fails(["\(one)", "--rename", "s/[ab]/c/"], "tensors 'a' and 'b' would both be named 'c'")
      try await fails(["\(one)", "--rename", "s/a/__metadata__/"], "cannot be called '__metadata__'")
      try await fails(["\(two)", "--exclude", "b", "--include", "x*"], status: 66, "--include 'x*'")
    }

    @Test("An existing OUT is replaced only with --force; anything but a regular file is never replaced")
    func exists() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let output = try files.write("out.safetensors", text: "precious")
      try await Packing.expectFailure(
        ["\(source)", "-o", "\(output)"], in: files, status: 73, says: "it exists already; --force")
      #expect(try OpenFile(output).bytes() == Array("precious".utf8))
      let forced = try await Packing.run(["\(source)", "-o", "\(output)", "--force"])
      #expect(forced.status == 0, "\(forced)")
      expectSame(try OpenFile(output).bytes(), Self.model.asReferenceWrites.bytes, "the file")

      try files.makeDirectory("directory")
      for path in ["\(files.path)/directory", "/dev/null"] {
        try await Packing.expectFailure(
          ["\(source)", "-o", path, "--force"], in: files, status: 73, says: "not a regular file")
      }
      #expect(try Stat(FilePath("/dev/null")).type == .characterSpecial)
      try await Packing.expectFailure(
        ["\(source)", "-o", "\(files.path)/none/out"], in: files, status: 73,
        says: "does not exist; create it first")
      try await Packing.expectFailure(
        ["\(source)", "-o", "\(source)/out"], in: files, status: 73, says: "cannot create it: Not a directory"
      )
    }

    @Test("The input may be the output, with --force")
    func inPlace() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try await Packing.expectFailure(
        ["\(source)", "-o", "\(source)"], in: files, status: 73, says: "it exists already")
      let outcome = try await Packing.run(["\(source)", "-fo", "\(source)", "--rename", "s/a/x/"])
      #expect(outcome.status == 0, "\(outcome)")
      var expected = Self.model
      expected.tensors[0].name = Array("x".utf8)
      expectSame(try OpenFile(source).bytes(), expected.asReferenceWrites.bytes, "the file")
    }

    @Test("Existing shards are refused, and so is a whole model that readers would prefer")
    func shardsExist() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("source", Self.model)
      let arguments = ["\(source)", "-o", "\(files.path)/m.safetensors", "--max-shard-size", "12"]
      for name in ["m-00002-of-00002.safetensors", "m.safetensors.index.json"] {
        let path = try files.write(name, text: "precious")
        try await Packing.expectFailure(arguments, in: files, status: 73, says: name, "it exists already")
        try await Command.output(of: "rm", "\(path)")
      }
      try files.write("m.safetensors", Self.model)
      try await Packing.expectFailure(
        arguments + ["--force"], in: files, status: 73, says: "in place of the shards; remove it first")
    }

    @Test("A warning names the shards and the index of another set that the output leaves there")
    func otherShards() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("source", Self.model)
      let others = ["m-00001-of-00003.safetensors", "m-00003-of-00003.safetensors"]
      for name in others + [
        "n-00001-of-00003.safetensors", "m-00001-of-00003.bin", "m.safetensors.index.json",
      ] {
        try files.write(name, text: "old")
      }
      let output = ["\(source)", "-fo", "\(files.path)/m.safetensors"]
      let shards = (1...2).map { "m-0000\($0)-of-00002.safetensors" }
      for (options, left) in [
        (["--max-shard-size", "12"], others),
        ([], [shards[0], others[0], shards[1], others[1], "m.safetensors.index.json"]),
      ] {
        let outcome = try await Packing.run(output + options)
        let names = left.map { "'\($0)'" }.joined(separator: ", ")
        #expect(outcome.status == 0 && outcome.errorLines.count == 1, "\(outcome)")
        #expect(outcome.error.contains("shards are left: \(names); remove them"), "\(outcome.error)")
        for name in others { #expect(try OpenFile(files.path.appending(name)).bytes() == Array("old".utf8)) }
      }
      // Only those of the output's name.
      let other = try await Packing.run(["\(source)", "-o", "\(files.path)/other.safetensors"])
      #expect(other.status == 0 && other.error.isEmpty, "\(other)")
    }

    @Test("Missing, unreadable, broken and foreign inputs are refused")
    func inputs() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try files.write("broken.safetensors", text: "PK\u{3}\u{4} and so on")
      try files.write("broken.npy", text: "PK\u{3}\u{4} and so on")
      try files.makeDirectory("empty")
      try files.makeFIFO("fifo.npy")
      let out = ["-o", "\(files.path)/out.safetensors"]
      func fails(_ name: String, _ status: Int32, _ words: String) async throws {
        let path = "\(files.path)/\(name)"
        let outcome = try await Packing.run(["\(source)", path] + out)
        #expect(outcome.status == status && outcome.error.contains(words), "\(outcome)")
        #expect(outcome.errorLines.count == 1 && outcome.error.contains(name), "\(outcome)")
      }
      try await fails("none", 66, "cannot open it: No such file")
      try await fails("broken.safetensors", 65, "no zip end record: the archive is truncated")
      try await fails("broken.npy", 65, "not a NumPy array")
      try await fails("empty", 66, "no .safetensors file and no PyTorch file in it")
      try await fails("fifo.npy", 66, "FIFO")

      let directory = try TemporaryDirectory()
      try await Command.output(of: "chmod", "755", "\(directory.path)")
      let secret = try directory.write("m.safetensors", Self.model)
      try secret.setPermissions(0o600)
      let program = try directory.write("stpack", OpenFile(Machine.stpack).bytes(step: 1 << 24))
      try program.setPermissions(0o755)
      let unreadable = try await Command.run(
        "\(program)", ["\(secret)", "-n", "-o", "\(directory.path)/none"], user: PrivateNamespace.nobody)
      #expect(unreadable.status == 77 && unreadable.error.contains("Permission denied"), "\(unreadable)")
      try secret.setPermissions(0o644)
      let unwritable = try await Command.run(
        "\(program)", ["\(secret)", "-o", "\(directory.path)/out"], user: PrivateNamespace.nobody)
      #expect(unwritable.status == 77 && unwritable.error.contains("cannot create it"), "\(unwritable)")
    }

    @Test("The file has the permissions that the umask allows, and the directory has no other file")
    func permissions() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try await Command.output(
        of: "sh", "-c", "umask 027; \(Machine.stpack) \(source) -o \(files.path)/out.safetensors")
      #expect(try Stat(files.path.appending("out.safetensors")).permissions.rawValue == 0o640)
      expectSamePaths(try Walk(files.path).files, ["m.safetensors", "out.safetensors"])
    }

    @Test("Messages are never written into a model, even if standard error is closed")
    func closedStreams() async throws {
      let files = try TemporaryDirectory()
      var long = Self.model
      long.trailing = [0]
      let source = try files.write("m.safetensors", long)
      let outcome = try await Command.run(
        "sh", ["-c", "\(Machine.stpack) --lenient \(source) -o \(files.path)/out <&- >&- 2>&-"])
      #expect(outcome.status == 0)
      expectSame(
        try OpenFile(files.path.appending("out")).bytes(), Self.model.asReferenceWrites.bytes, "the file")
      expectSame(try OpenFile(source).bytes(), long.bytes, "the source")
    }
  }
}
