import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// `stls --hash` and `stls --check`: manifests in the format of sha256sum(1).
  @Suite struct ManifestTests {
    private static let model = SafetensorsFile(
      .init("a/b", "F32", [500]), .init("a", "U8", [1]), .init("back\\slash\n", "BF16", [3]),
      .init("empty", "U8", [0]), .init("large", "U8", [1_000_003]), .init("é", "I64", [2]))

    private func stls(_ arguments: String...) async throws -> Outcome {
      try await Command.run("\(Machine.stls)", arguments)
    }

    @Test("sha256sum -c accepts the manifest in a mount, and --check accepts it without a mount")
    func accepted() async throws {
      let files = try TemporaryDirectory()
      var torch = TorchFile()
      let storage = torch.addStorage("Float", count: 60_000)
      torch.object = .ordered(["t": torch.view(of: storage, [300, 200], strides: [1, 300])])
      for source in [try files.write("m.safetensors", Self.model), try files.write("m.pt", torch)] {
        let outcome = try await stls("--hash", "sha256", "\(source)")
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        let manifest = try files.write("manifest", outcome.output)
        try await withMount(source) { mount in
          let checked = try await Command.run(
            "sha256sum", ["-c", "--strict", "\(manifest)"], directory: mount.path)
          #expect(checked.status == 0 && checked.error.isEmpty, "\(checked)")
          let sums = try await Command.output(
            of: "sh", "-c",
            "cd \(mount.path) && find . -type f -exec sha256sum {} + >\(files.path)/sums"
          )
          #expect(sums.isEmpty)
        }
        let piped = try await Command.run(
          "sh", ["-c", #""$0" -q --check - "$1" <"$2""#, "\(Machine.stls)", "\(source)", "\(manifest)"])
        #expect(piped.status == 0 && piped.error.isEmpty && piped.output.isEmpty, "\(piped)")
        for manifest in ["\(manifest)", "\(files.path)/sums"] {
          let checked = try await stls("--check", manifest, "\(source)")
          #expect(checked.status == 0 && checked.error.isEmpty, "\(checked)")
          #expect(checked.text.split(separator: "\n").allSatisfy { $0.hasSuffix(": OK") }, "\(checked.text)")
        }
      }
    }

    @Test("--check reads comments, lines that end in CR LF, and those of sha256sum --tag, as sha256sum does")
    func otherLines() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let manifest = try await stls("--hash", "sha256", "\(source)").text
      let lines = manifest.split(separator: "\n").map(String.init)
      let tagged = lines.map { line in
        let isEscaped = line.hasPrefix("\\")
        let rest = line.dropFirst(isEscaped ? 1 : 0)
        return (isEscaped ? "\\" : "") + "SHA256 (\(rest.dropFirst(66))) = \(rest.prefix(64))"
      }
      let openSSL = tagged.map { $0.replacing("SHA256 (", with: "SHA256(").replacing(") = ", with: ")= ") }
      for list in [lines, tagged, openSSL] {
        let text = "# comment\r\n\r\n" + list.joined(separator: "\r\n") + "\r\n"
        let checked = try await stls("--check", "\(files.write("sums", text: text))", "\(source)")
        #expect(checked.status == 0 && checked.error.isEmpty, "\(checked)")
        #expect(checked.text.split(separator: "\n").count == lines.count, "\(checked.text)")
      }
      // sha256sum's own.
      try await withMount(source) { mount in
        try await Command.output(
          of: "sh", "-c", "cd \(mount.path) && find . -type f -exec sha256sum --tag {} + >\(files.path)/tags")
      }
      let checked = try await stls("--check", "\(files.path)/tags", "\(source)")
      #expect(checked.status == 0 && checked.error.isEmpty, "\(checked)")
      let other = try files.write("sums", text: "MD5 (a) = " + String(repeating: "a", count: 32) + "\n")
      #expect(try await stls("--check", "\(other)", "\(source)").status == 65)
    }

    @Test("A tensor that differs, is missing or is not listed is named, and the exit status is 1")
    func differing() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let manifest = try files.write("manifest", try await stls("--hash", "sha256", "\(source)").output)
      var changed = Self.model
      changed.tensors[4].data[1_000_002] ^= 1
      changed.tensors[1].name = Array("b".utf8)
      let other = try files.write("other.safetensors", changed)
      let outcome = try await stls("-q", "--check", "\(manifest)", "\(other)")
      #expect(outcome.status == 1)
      #expect(
        outcome.text == "a: FAILED, no such tensor\na%2Fb: FAILED, no such tensor\nlarge: FAILED",
        "\(outcome)")
      #expect(outcome.error.contains("3 of 6 lines of the manifest did not match"), "\(outcome.error)")
      #expect(
        outcome.error.contains("the manifest does not have 2 tensors of the source: 'a/b', 'b'"),
        "\(outcome.error)")
    }

    @Test("A manifest without a line is refused, so that a digest which failed is no success")
    func empty() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      for text in ["", "\n", "# comment\n"] {
        let outcome = try await stls("--check", "\(files.write("manifest", text: text))", source)
        #expect(outcome.status == 65 && outcome.error.contains("the manifest is empty"), "\(outcome)")
      }
    }

    @Test("A file that is not a manifest is refused with the number of the line")
    func refused() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      let digest = String(repeating: "a", count: 64)
      for text in ["abc", digest, "\(digest) a", "\(digest)g  a", "\(digest)  ", "\\\(digest)  a\\x"] {
        let manifest = try files.write("manifest", text: "\(digest)  a\n\(text)\n")
        let outcome = try await stls("--check", "\(manifest)", source)
        #expect(outcome.status == 65 && outcome.error.contains("line 2"), "\(text): \(outcome)")
      }
      // The file is sparse, and far larger than the machine's memory.
      let large = try files.write("large", [])
      let file = try FileDescriptor.open(large, .writeOnly)
      try file.closeAfter { try file.resize(to: 1 << 42) }
      let outcome = try await stls("--check", "\(large)", source)
      #expect(outcome.status == 65 && outcome.error.contains("line 1"), "\(outcome)")
      #expect(try await stls("--check", "\(files.path)/none", source).status == 66)
      #expect(try await stls("--hash", "md5", source).status == 64)
    }
  }
}
