import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// A mount, or a copy of a mount, as the source of the commands that do not mount.
  @Suite struct MountedSourceTests {
    private static let model = SafetensorsFile(
      [
        .init("layer/0/weight", "BF16", [400, 3]), .init("layer", "F32", [3]), .init("", "U8", [2]),
        .init("metadata.json", "I16", [3]), .init("x.npy/y", "U32", [2]), .init("empty", "F4", [0]),
        .init("\u{1}%é\u{202E}", "F8_E4M3", [5]), .init("large", "U8", [3 << 20]),
      ], metadata: ["format": "pt"]
    ).asReferenceWrites

    private func run(_ command: String, _ arguments: String...) async throws -> Outcome {
      try await Command.run("\(Machine.link(command))", arguments)
    }

    /// Calls `body` with a mount of a source, and then with a copy of that mount.
    private func withMountAndCopy(_ source: FilePath, _ body: (FilePath) async throws -> Void) async throws {
      let files = try TemporaryDirectory()
      try await withMount(source) { mount in
        try await body(mount.path)
        try await Command.output(of: "cp", "-r", "\(mount.path)", "\(files.path)/copy")
      }
      try await body(files.path.appending("copy"))
    }

    @Test("stcat, stdiff, stunpack and stls read a mount, and a copy of one, as they read the model")
    func commands() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let list = [["--stats"], ["--hash", "sha256"], ["--stats", "--include", "l*", "--exclude", "*0*"]]
      try await withMountAndCopy(source) { path in
        for options in list {
          let (expected, found) = (
            try await Command.run("\(Machine.stls)", options + ["\(source)"]),
            try await Command.run("\(Machine.stls)", options + ["\(path)"])
          )
          #expect(found.status == 0 && found.error.isEmpty && found.output == expected.output, "\(found)")
        }
        for form in ["raw", "npy", "safetensors"] {
          let found = try await run("stcat", "--as", form, "\(path)", "*")
          let expected = try await run("stcat", "--as", form, "\(source)", "*")
          #expect(found.status == 0 && found.error.isEmpty, "\(found.error)")
          expectSame(found.output, expected.output, form)
        }
        let same = try await run("stdiff", "\(source)", "\(path)")
        #expect(same.status == 0 && same.output.isEmpty && same.error.isEmpty, "\(same)")
        let unpacked = files.path.appending("unpacked")
        let outcome = try await run("stunpack", "\(path)", "\(unpacked)")
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome)")
        expectSame(try await Packing.pack(unpacked), Self.model.bytes, "the model")
        try await Command.output(of: "rm", "-r", "\(unpacked)")
      }
    }

    @Test("A mount of several models, and a copy of one, is listed and compared as they are")
    func several() async throws {
      let files = try TemporaryDirectory()
      let source = try files.writePipeline("pipe", unet: Self.model)
      let expected = try await run("stls", "\(source)").text.replacing(
        "8 tensors, 1 file", with: "8 tensors, 8 files")
      let json = try await run("stls", "--json", "\(source)").output
      try await withMountAndCopy(source) { path in
        let listed = try await run("stls", "\(path)")
        #expect(listed.text == expected && listed.error.isEmpty, "\(listed)")
        #expect(try await run("stls", "--json", "\(path)").output == json)
        #expect(
          try await run("stls", "--hash", "sha256", "\(path)").output
            == run("stls", "--hash", "sha256", "\(source)").output)
        #expect(try await run("stdiff", "\(source)", "\(path)").status == 0)
        #expect(
          try await run("stcat", "\(path)", "vae/u/v").output == run("stcat", "\(source)", "vae/u/v").output)
      }
    }

    @Test(
      "A copy that lacks a file, or has one of another size, is refused by name, unless the tensor is left out"
    )
    func broken() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let copy = "\(files.path)/copy"
      #expect(try await run("stunpack", "\(source)", copy).status == 0)
      try files.write("copy/large", text: "short")
      for command in [["stls", "--stats"], ["stls", "--hash", "sha256"], ["stdiff", "\(source)"]] {
        let outcome = try await Command.run(
          "\(Machine.link(command[0]))", Array(command.dropFirst()) + [copy])
        #expect(outcome.status == (command[0] == "stdiff" ? 2 : 65), "\(outcome)")
        #expect(outcome.errorLines.count == 1 && outcome.error.contains("large'"), "\(outcome.error)")
      }
      #expect(try await run("stls", "--stats", "--exclude", "large", copy).status == 0)
      try await Command.output(of: "rm", "\(copy)/large")
      let missing = try await run("stls", "--hash", "sha256", copy)
      #expect(missing.status == 66 && missing.error.contains("No such file"), "\(missing)")
    }

    @Test("A copy with more files than a process may open is read like any other")
    func manyFiles() async throws {
      let files = try TemporaryDirectory()
      let tensors = (0..<200).map { number in
        SafetensorsFile.Tensor("t\(number)", "U8", [2], data: [UInt8(number), 1])
      }
      let source = "\(try files.write("m.safetensors", SafetensorsFile(tensors)))"
      let copy = "\(files.path)/copy"
      #expect(try await run("stunpack", source, copy).status == 0)
      for command in [
        ["stls", "--hash", "sha256"], ["stls", "--stats"], ["stcat", "--as", "safetensors"],
        ["stpack", "-o", "-"], ["stunpack"], ["stdiff", source],
      ] {
        var outcomes: [Outcome] = []
        for path in [source, copy] {
          let rest = command[0] == "stcat" ? ["*"] : command[0] == "stunpack" ? [path + ".out"] : []
          var arguments = ["-c", #"ulimit -n 100; exec "$@""#, "sh", "\(try Machine.link(command[0]))"]
          arguments += command.dropFirst()
          arguments += [path] + rest
          outcomes.append(try await Command.run("sh", arguments))
        }
        #expect(outcomes.allSatisfy { $0.status == 0 && $0.error.isEmpty }, "\(command): \(outcomes[1])")
        expectSame(outcomes[1].output, outcomes[0].output, command.joined(separator: " "))
      }
      try await Command.output(of: "diff", "-r", "--exclude=metadata.json", source + ".out", copy + ".out")
    }

    @Test("--include and --exclude choose the tensors for --stats, --hash, --check and --dequant")
    func selection() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      let all = try await run("stls", "--hash", "sha256", source)
      let some = try await run("stls", "--hash", "sha256", "--include", "lay*", source)
      #expect(
        some.text.split(separator: "\n").map { $0.dropFirst(66) } == ["layer", "layer%2F0/weight"],
        "\(some)")
      let manifest = "\(try files.write("sums", all.output))"
      let checked = try await run("stls", "--check", manifest, "--exclude", "*a*", source)
      #expect(
        checked.status == 0 && checked.text.split(separator: "\n").count == 4 && checked.error.isEmpty,
        "\(checked)")
      // A missing tensor is an error only if the selection includes it.
      var less = Self.model
      less.tensors.removeAll { $0.name == Array("layer".utf8) }
      let other = "\(try files.write("less.safetensors", less))"
      let gone = try await run("stls", "-q", "--check", manifest, "--include", "l*", other)
      #expect(gone.status == 1 && gone.text.hasPrefix("layer: FAILED, no such tensor"), "\(gone)")
      let none = try await run("stls", "--stats", "--include", "l*", "--exclude", "l*", source)
      #expect(none.status == 66 && none.error.contains("leave no tensor"), "\(none)")
      let unused = try await run("stls", "--stats", "--include", "none", source)
      #expect(
        unused.status == 66 && unused.error.contains("no tensor's name matches --include 'none'"), "\(unused)"
      )
    }
  }
}
