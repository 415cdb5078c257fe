import Fixtures
import SystemPackage
import Testing

extension CommandTests {
  /// The output of stpack(1).
  @Suite struct PackTests {
    private static let model = SafetensorsFile(
      [
        .init("b", "F32", [3]), .init("a/x", "BF16", [2, 3]), .init("a/é", "U8", [5]),
        .init("odd", "F4", [6]),
        .init("none", "F16", [0, 2]), .init("scalar", "I64", []), .init("z\u{1}%", "F6_E2M3", [4]),
      ], metadata: ["format": "pt"])

    @Test("Tensors in any order are written as the reference writes them")
    func order() async throws {
      let files = try TemporaryDirectory()
      var shuffled = Self.model
      shuffled.dataOrder = [6, 2, 0, 4, 5, 3, 1]
      shuffled.padding = 3
      let packed = try await Packing.pack(files.write("m.safetensors", shuffled))
      expectSame(packed, Self.model.asReferenceWrites.bytes, "the file")
    }

    @Test("Parts of all lengths and alignments are combined without errors")
    func longParts() async throws {
      let mebibyte = 1 << 20
      let sizes = [
        5 * mebibyte, mebibyte, mebibyte + 1, 1, 2 * mebibyte - 3, 0, 3 * mebibyte + 4096, mebibyte - 1, 7,
      ]
      let whole = SafetensorsFile(sizes.enumerated().map { .init("t\($0.offset)", "U8", [$0.element]) })
      let files = try TemporaryDirectory()
      for padding in [0, 1, 8] {
        var shuffled = whole
        shuffled.dataOrder = [8, 4, 0, 6, 2, 5, 7, 1, 3]
        shuffled.padding = padding
        let packed = try await Packing.pack(files.write("m\(padding).safetensors", shuffled))
        expectSame(packed, whole.asReferenceWrites.bytes, "padding \(padding)")
      }
      // The kernel copies all of this file except the header.
      let again = try await Packing.pack(files.write("m.safetensors", whole.asReferenceWrites))
      expectSame(again, whole.asReferenceWrites.bytes, "the file packed again")
    }

    @Test("Hundreds of models of all dtypes are byte-identical to the reference's")
    func reference() async throws {
      let output = try await Reference.run("packing.py", "\(Machine.stpack)", "250", "7")
      #expect(output.hasPrefix("250 models, ") && output.contains(", 20 dtypes\n"), "\(output)")
    }

    @Test("Shards and their index are those of huggingface_hub, and it loads them")
    func huggingFace() async throws {
      let output = try await Reference.run("sharding.py", "\(Machine.stpack)", "60", "7")
      #expect(output.hasPrefix("60 models, "), "\(output)")
    }

    @Test("A model that was split and merged again is the same, and so are the shards")
    func shards() async throws {
      let files = try TemporaryDirectory()
      let whole = Self.model.asReferenceWrites
      let source = try files.write("whole.safetensors", whole)
      try files.makeDirectory("one")
      try files.makeDirectory("two")
      func split(_ input: String, _ directory: String) async throws {
        let outcome = try await Packing.run([
          input, "-o", "\(files.path)/\(directory)/model.safetensors", "--max-shard-size", "16",
        ])
        #expect(outcome.status == 0, "\(outcome)")
      }
      try await split("\(source)", "one")
      let names = try Walk(files.path.appending("one")).files
      expectSamePaths(
        names,
        (1...4).map { FilePath("model-0000\($0)-of-00004.safetensors") } + ["model.safetensors.index.json"])
      let merged = try await Packing.pack(files.path.appending("one"))
      expectSame(merged, whole.bytes, "the merged file")
      try files.write("merged.safetensors", merged)
      try await split("\(files.path)/merged.safetensors", "two")
      for name in names {
        let second = try OpenFile(files.path.appending("two").appending(name.components)).bytes()
        expectSame(
          second, try OpenFile(files.path.appending("one").appending(name.components)).bytes(), "\(name)")
      }
    }

    @Test("A model that fits into one shard is one file, without an index")
    func oneShard() async throws {
      let files = try TemporaryDirectory()
      let packed = try await Packing.pack(
        files.write("m.safetensors", Self.model), options: ["--max-shard-size", "1GB"])
      expectSame(packed, Self.model.asReferenceWrites.bytes, "the file")
    }

    @Test("--align starts the data on a page, and changes nothing else")
    func align() async throws {
      let files = try TemporaryDirectory()
      let packed = try await Packing.pack(
        files.write("m.safetensors", Self.model), options: ["--align", "4096"])
      var expected = Self.model.asReferenceWrites
      let json = expected.header.reversed().drop { $0 == UInt8(ascii: " ") }.count
      expected.padding = 4096 - 8 - json
      expectSame(packed, expected.bytes, "the file")
      #expect(expected.dataStart == 4096)
    }

    @Test("--include and --exclude choose by the whole name as it is in the input, --rename changes it")
    func names() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write(
        "m.safetensors",
        SafetensorsFile(
          .init("model.a.weight", "U8", [1]), .init("model.a.bias", "U8", [2]),
          .init("head.weight", "U8", [3]),
          .init("été.x.x", "U8", [4])))
      func names(_ options: String...) async throws -> [String] {
        let packed = try await Packing.pack(source, options: options)
        try files.write("packed.safetensors", packed)
        let listed = try await Command.output(
          of: "\(Machine.stls)", "--json", "\(files.path)/packed.safetensors")
        return try JSONValue(parsing: listed.utf8)["tensors"]?.entries.map {
          String(decoding: $0.key, as: UTF8.self)
        }
          ?? []
      }
      #expect(try await names("--include", "model.*") == ["model.a.bias", "model.a.weight"])
      #expect(
        try await names("--include", "*.weight", "--include", "*bias", "--exclude", "head*") == [
          "model.a.bias", "model.a.weight",
        ])
      #expect(
        try await names("--include", "model.*", "--rename", #"s/^model\.//"#) == ["a.bias", "a.weight"])
      #expect(
        try await names("--include", "model.a.bias", "--rename", #"s|([a-z]+)\.([a-z]+)|\2/&/\0\||"#) == [
          "a/model.a/model.a|.bias"
        ])
      #expect(try await names("--include", "*.x", "--rename", "s/x/yy/g") == ["été.yy.yy"])
      #expect(
        try await names("--include", "*.x", "--rename", "s/^.t./o/", "--rename", "s/x*$/-/g") == ["o.x.-"])
      #expect(try await names("--include", "*.x", "--rename", "s/x*/-/g") == ["-é-t-é-.-.-"])
    }

    @Test("--rename with g takes time in proportion to a name's length, on the processor")
    func longNames() async throws {
      let files = try TemporaryDirectory()
      func seconds(_ count: Int) async throws -> Double {
        let name = String(repeating: "_", count: count)
        let source = try files.write("\(count).safetensors", SafetensorsFile(.init(name, "U8", [1])))
        let text = try await Command.output(
          of: "bash", "-c",
          "TIMEFORMAT=%U; { time \(Machine.stpack) \(source) -o - --rename s/_/./g >\(files.path)/out; } 2>&1"
        )
        #expect(try OpenFile(files.path.appending("out")).bytes()[10..<10 + count].allSatisfy { $0 == 0x2E })
        return try #require(Double(text), "\(text)")
      }
      let costs = try await Costs(from: 50_000, seconds: seconds)
      #expect(costs.areProportional, "\(costs)")
    }

    @Test(
      "Metadata of several inputs is merged; the command line's takes precedence, and --no-metadata drops the inputs'"
    )
    func metadata() async throws {
      let files = try TemporaryDirectory()
      let one = try files.write(
        "one.safetensors", SafetensorsFile([.init("a", "U8", [1])], metadata: ["format": "pt", "k": "1"]))
      let two = try files.write(
        "two.safetensors", SafetensorsFile([.init("b", "U8", [1])], metadata: ["k": "1", "b": "é\u{1}"]))
      func expect(_ expected: KeyValuePairs<String, String>?, _ options: String...) async throws {
        let packed = try await Packing.pack(one, two, options: options)
        let file = SafetensorsFile([.init("a", "U8", [1]), .init("b", "U8", [1])], metadata: expected)
        expectSame(packed, file.bytes, "\(options)")
      }
      try await expect(["b": "é\u{1}", "format": "pt", "k": "1"])
      try await expect(
        ["a": "", "b": "é\u{1}", "format": "tf=x", "k": "1"], "--metadata", "format=tf=x", "--metadata", "a=")
      try await expect(nil, "--no-metadata")
      try await expect(["x": "y"], "--no-metadata", "--metadata", "x=y")
      let other = try files.write(
        "other.safetensors", SafetensorsFile([.init("c", "U8", [1])], metadata: ["k": "2"]))
      try await Packing.expectFailure(
        ["\(one)", "\(other)", "-o", "\(files.path)/out.safetensors"], in: files, status: 65,
        says: "two values for 'k'", "'1' in", "one.safetensors", "'2' in", "other.safetensors")
      _ = try await Packing.pack(one, other, options: ["--metadata", "k=3"])
    }

    @Test("--dry-run prints the tensors of the output, as stls does, counts elements, and writes nothing")
    func dryRun() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let output = files.path.appending("out.safetensors")
      let dry = try await Packing.run([
        "\(source)", "-o", "\(output)", "-n", "--rename", "s/^a.//", "--max-shard-size", "16",
      ])
      #expect(dry.status == 0 && dry.error.isEmpty)
      expectSamePaths(try Walk(files.path).files, ["m.safetensors"])
      let outcome = try await Packing.run(["\(source)", "-o", "\(output)", "--rename", "s/^a.//"])
      #expect(outcome.status == 0)
      let listed = try await Command.output(of: "\(Machine.stls)", "\(output)")
      #expect(
        dry.text
          == listed.replacing("1 file", with: "4 files").replacing(" parameters:", with: " elements:"))
    }

    @Test("--variant chooses a model of a directory, as it does for stmount")
    func variant() async throws {
      let files = try TemporaryDirectory()
      let half = SafetensorsFile(.init("w", "F16", [3]))
      try files.write("m/model.safetensors", SafetensorsFile(.init("w", "F32", [3])))
      try files.write("m/model.fp16.safetensors", half)
      let output = files.path.appending("out.safetensors")
      let outcome = try await Packing.run(["--variant", "fp16", "\(files.path)/m", "-o", "\(output)"])
      #expect(outcome.status == 0 && outcome.error.contains("'model.safetensors'"), "\(outcome)")
      expectSame(try OpenFile(output).bytes(), half.bytes, "the file")
    }

    @Test("stpack prints the warnings of its inputs, and --lenient works as for stmount")
    func warnings() async throws {
      let files = try TemporaryDirectory()
      var long = Self.model
      long.trailing = [0]
      let source = try files.write("m.safetensors", long)
      let output = files.path.appending("out.safetensors")
      try await Packing.expectFailure(
        ["\(source)", "-o", "\(output)"], in: files, status: 65,
        says: "1 unexpected byte after the last tensor")
      let outcome = try await Packing.run(["--lenient", "\(source)", "-o", "\(output)"])
      #expect(outcome.status == 0 && outcome.error.contains("warning: "), "\(outcome)")
      expectSame(try OpenFile(output).bytes(), Self.model.asReferenceWrites.bytes, "the file")
    }
  }
}
