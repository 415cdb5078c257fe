import Fixtures
import SystemPackage
import Testing

extension CommandTests {
  /// stdiff(1), which compares two models.
  @Suite struct DiffTests {
    private static let large = TensorData.bytes("F32", [3 << 20], seed: 5)
    private static let base = SafetensorsFile(
      .init("large", "F32", [3 << 20], data: large), .init("layer.0", "F32", [4], data: floats(1, 2, 3, 4)),
      .init("old", "U8", [2]), .init("s", "F32", [6]), .init("t", "I32", [4], data: floats(1, 2, 3, 4)))

    private static func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
      (0..<number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func floats(_ values: Float...) -> [UInt8] { values.flatMap { bytes($0.bitPattern) } }

    /// The model with a changed float in one tensor, other dtypes and shapes, and other names.
    private static var tuned: SafetensorsFile {
      var file = base
      file.tensors[1].data = floats(1, 2, 3, 5)
      file.tensors[2].name = Array("new\u{1b}".utf8)
      file.tensors[3].shape = [2, 3]
      file.tensors[4].dtype = "F32"
      return file
    }

    private func stdiff(_ arguments: String...) async throws -> Outcome {
      try await Command.run("\(Machine.link("stdiff"))", arguments)
    }

    @Test("stdiff prints a line for each tensor that is missing, new, or differs in dtype, shape or bytes")
    func lines() async throws {
      let files = try TemporaryDirectory()
      let base = "\(try files.write("base.safetensors", Self.base))"
      let tuned = "\(try files.write("tuned.safetensors", Self.tuned))"
      let outcome = try await stdiff(base, tuned)
      #expect(outcome.status == 1 && outcome.error.isEmpty)
      #expect(
        outcome.text == #"""
          | layer.0  F32 [4]  bytes differ
          > 'new\u{1b}'  U8 [2]
          < old  U8 [2]
          | s  F32 [6] | F32 [2, 3]
          | t  I32 [4] | F32 [4]
          """#, "\(outcome.text)")
      let brief = try await stdiff("--brief", base, tuned)
      #expect(brief.status == 1 && brief.text == "'\(base)' and '\(tuned)' differ", "\(brief)")
      for options in [["--brief"], []] {
        let same = try await Command.run("\(Machine.link("stdiff"))", options + [base, base])
        #expect(same.status == 0 && same.output.isEmpty && same.error.isEmpty, "\(same)")
      }
    }

    @Test("A difference of one bit is found anywhere in a large tensor")
    func bit() async throws {
      let files = try TemporaryDirectory()
      let base = "\(try files.write("base.safetensors", Self.base))"
      for position in [0, (128 << 10) - 1, 128 << 10, 5 << 20, (12 << 20) - 1] {
        var file = Self.base
        file.tensors[0].data[position] ^= 0x40
        let changed = "\(try files.write("changed.safetensors", file))"
        let outcome = try await stdiff(base, changed)
        #expect(
          outcome.status == 1 && outcome.text == "| large  F32 [3145728]  bytes differ",
          "\(position): \(outcome)")
        #expect(try await stdiff("--brief", base, changed).status == 1)
      }
    }

    @Test(
      "Equal tensors do not differ in shards, in other orders, in PyTorch files, or under names changed by --rename"
    )
    func formats() async throws {
      let files = try TemporaryDirectory()
      let base = "\(try files.write("base.safetensors", Self.base))"
      var parts = [Self.base, Self.base]
      parts[0].tensors.removeFirst(2)
      parts[1].tensors.removeLast(3)
      parts[1].dataOrder = [1, 0]
      for (number, part) in parts.enumerated() {
        try files.write("set/model-0000\(number + 1)-of-00002.safetensors", part)
      }
      let sharded = try await stdiff("\(files.path)/set", base)
      #expect(sharded.status == 0 && sharded.output.isEmpty, "\(sharded)")

      var torch = TorchFile()
      torch.object = .ordered(["module.layer.0": torch.tensor("Float", [4], data: Self.floats(1, 2, 3, 4))])
      let other = "\(try files.write("m.pt", torch))"
      let one = "\(try files.write("one.safetensors", SafetensorsFile([Self.base.tensors[1]])))"
      #expect(
        try await stdiff(other, one).text == "< module.layer.0  F32 [4]\n> layer.0  F32 [4]".sortedByName)
      let renamed = try await stdiff("--rename", #"s/^module\.//"#, other, one)
      #expect(renamed.status == 0 && renamed.output.isEmpty, "\(renamed)")
    }

    @Test("--stat prints how many elements differ, and how far")
    func statistics() async throws {
      let files = try TemporaryDirectory()
      let first = SafetensorsFile(
        .init("a", "F32", [4], data: Self.floats(1, 2, 3, 4)),
        .init("b", "F32", [2], data: Self.floats(3, 0)),
        .init("i", "I64", [1], data: Self.bytes(Int64.max)),
        .init("n", "F32", [2], data: Self.floats(.nan, 1)),
        .init("z", "F32", [1], data: Self.floats(0)))
      let second = SafetensorsFile(
        .init("a", "F32", [4], data: Self.floats(1, 2, 3, 5)),
        .init("b", "BF16", [2], data: [0x80, 0x40, 0, 0x40]),
        .init("i", "I64", [1], data: Self.bytes(Int64.max - 1)),
        .init("n", "F32", [2], data: Self.floats(2, 1)),
        .init("z", "F32", [1], data: Self.floats(-0.0)))
      let paths = [try files.write("1.safetensors", first), try files.write("2.safetensors", second)]
      let outcome = try await stdiff("--stat", "\(paths[0])", "\(paths[1])")
      let cosine = 34 / (30.0.squareRoot() * 39.0.squareRoot())
      let apart = 2.5.squareRoot()
      let turned = 12 / (3 * 20.0.squareRoot())
      #expect(outcome.status == 1)
      #expect(
        outcome.text == """
          | a  F32 [4]  1 of 4 elements differs, largest absolute 1.0, relative 0.2, rms 0.5, cosine \(cosine)
          | b  F32 [2] | BF16 [2]  2 of 2 elements differ, largest absolute 2.0, relative 1.0, rms \(apart), cosine \(turned)
          | i  I64 [1]  1 of 1 element differs, largest absolute 0.0, relative 0.0, rms 0.0, cosine 1.0
          | n  F32 [2]  1 of 2 elements differs, largest absolute nan, relative nan, rms nan, cosine nan
          | z  F32 [1]  1 of 1 element differs, largest absolute 0.0, relative 0.0, rms 0.0, cosine nan
          """, "\(outcome.text)")
      let json = try await stdiff("--stat", "--json", "\(paths[0])", "\(paths[1])")
      try files.write("d.json", json.output)
      let summary = try await Command.output(
        of: "jq", "-c",
        "[.same, (.differences[] | [.name, .first.dtype, .second.dtype, .differing, (.max_absolute | if . then . + 0 else . end)])]",
        "\(files.path)/d.json")
      #expect(
        summary
          == #"[0,["a","F32","F32",1,1],["b","F32","BF16",2,2],["i","I64","I64",1,0],["n","F32","F32",1,null],["z","F32","F32",1,0]]"#
      )
    }

    @Test("On a terminal, columns are aligned, numbers short, and long names shortened to its width")
    func terminal() async throws {
      let files = try TemporaryDirectory()
      let name = "model.layers.0." + String(repeating: "x", count: 60) + ".weight"
      let first = SafetensorsFile(
        .init("a", "F32", [3], data: Self.floats(1, 2, 3)), .init(name, "F32", [1], data: Self.floats(1)),
        .init("s", "F32", [1], data: Self.floats(0)))
      var second = first
      second.tensors[0].data = Self.floats(1, 2, 4)
      second.tensors[1].data = Self.floats(3)
      second.tensors[2].dtype = "I32"
      let paths = [try files.write("1.safetensors", first), try files.write("2.safetensors", second)]
      let stdiff = try Machine.link("stdiff")
      func lines(_ options: String) async throws -> [Substring] {
        let command = "stty cols 96; '\(stdiff)' \(options) '\(paths[0])' '\(paths[1])'"
        return try await Command.run("script", ["-qec", command, "/dev/null"]).text
          .split(whereSeparator: \.isNewline)
      }
      let measured = try await lines("--stat")
      #expect(measured.map(\.count) == [96, 96, 96, 96])
      #expect(
        measured.map { $0.split(separator: " ").joined(separator: " ") } == [
          "name dtype and shape elements differ absolute relative rms cosine",
          "| a F32 [3] 1 of 3 1.0 0.25 0.57735 0.99146",
          "| model.la…xxxx.weight F32 [1] 1 of 1 2.0 0.66667 2.0 1.0",
          "| s F32 [1] | I32 [1] 0 of 1 0.0 0.0 0.0 nan",
        ])
      let plain = try await lines("")
      #expect(plain.count == 3 && plain[0].count == 96 && plain[1].count == 96)
      #expect(plain.count == 3 && plain[1].hasSuffix("bytes differ") && plain[2].hasSuffix(" | I32 [1]"))
    }

    @Test("Every error is exit status 2 and one line")
    func trouble() async throws {
      let files = try TemporaryDirectory()
      let base = "\(try files.write("base.safetensors", Self.base))"
      let broken = "\(try files.write("broken.safetensors", Array(Self.base.bytes.dropLast())))"
      for arguments in [
        [], [base], [base, base, base], [base, broken], ["\(files.path)/no", base],
        [base, base, "--no-such-option"],
        [base, base, "--brief", "--stat"], [base, base, "--rename", "x"],
        [base, base, "--rename", "s/.*/x/"],
      ] {
        let outcome = try await Command.run("\(Machine.link("stdiff"))", arguments)
        #expect(outcome.status == 2 && outcome.errorLines.count == 1 && outcome.output.isEmpty, "\(outcome)")
      }
    }

    @Test("Models that are the same bytes of the same file are not read")
    func sameFile() async throws {
      let files = try TemporaryDirectory()
      let path = try files.writeSparse("large.safetensors", size: 400_000_000_000)
      let link = try files.makeLink("link.safetensors", to: "large.safetensors")
      let outcome = try await stdiff("\(path)", "\(link)")
      #expect(outcome.status == 0 && outcome.output.isEmpty, "\(outcome)")
    }
  }
}

extension String {
  /// The lines, sorted by the names after the signs.
  fileprivate var sortedByName: String {
    split(separator: "\n").sorted { $0.dropFirst(2) < $1.dropFirst(2) }.joined(separator: "\n")
  }
}
