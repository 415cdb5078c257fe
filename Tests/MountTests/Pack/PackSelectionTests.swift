import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// The tensors that stpack(1) packs, and their inputs.
  @Suite struct PackSelectionTests {
    private static let model = SafetensorsFile(.init("a", "F32", [3]), .init("b", "U8", [1]))
    private static let a = SafetensorsFile(model.tensors[0]).bytes

    @Test(
      "A problem with a tensor that is left out is not an error: sparse, duplicate, or its file is missing"
    )
    func before() async throws {
      let files = try TemporaryDirectory()
      var torch = TorchFile()
      let storage = torch.addStorage("ComplexDouble", count: 1)
      let complex = torch.view(of: storage, [1])
      torch.object = .ordered([
        "a": torch.tensor("Float", [3], data: Self.model.tensors[0].data), "z": complex,
      ])
      let source = try files.write("m.pt", torch)
      try await Packing.expectFailure(
        ["\(source)", "-o", "\(files.path)/out"], in: files, status: 65, says: "tensor 'z'")
      for options in [["--exclude", "z"], ["--include", "a"]] {
        expectSame(try await Packing.pack(source, options: options), Self.a, "\(options)")
      }

      try files.write("two/1.safetensors", Self.model)
      try files.write("two/2.safetensors", SafetensorsFile(Self.model.tensors[1]))
      let two = files.path.appending("two")
      try await Packing.expectFailure(
        ["\(two)", "-o", "\(files.path)/out"], in: files, status: 65, says: "tensor 'b' is also in")
      expectSame(try await Packing.pack(two, options: ["--exclude", "b"]), Self.a, "the directory")

      let whole = try files.write("m.safetensors", Self.model)
      try await withMount(whole) { mount in
        try await Command.output(of: "cp", "-r", "\(mount.path)", "\(files.path)/copy")
        try await Command.output(of: "cp", "-r", "\(mount.path)/.npy", "\(files.path)/arrays")
      }
      try await Command.output(
        of: "sh", "-c", "rm \(files.path)/copy/b; echo no array >\(files.path)/arrays/b.npy")
      for name in ["copy", "arrays"] {
        let packed = try await Packing.pack(files.path.appending(name), options: ["--exclude", "b"])
        expectSame(packed, Self.a, name)
      }
    }

    @Test("Options that leave no tensor, or whose pattern matches none, exit with 66 and write nothing")
    func nothing() async throws {
      let files = try TemporaryDirectory()
      let whole = try files.write("m.safetensors", Self.model)
      for (options, words) in [
        (["--exclude", "*"], "leave no tensor"), (["--include", "a", "--exclude", "a"], "leave no tensor"),
        (["--include", "z"], "--include 'z'"), (["--dtype", "z*=bf16"], "--dtype 'z*'"),
      ] {
        try await Packing.expectFailure(
          ["\(whole)", "-o", "\(files.path)/out"] + options, in: files, status: 66, says: words)
      }
    }

    @Test(
      "A copy of some tensors with the whole metadata.json is refused with advice; --missing-ok packs it")
    func partialCopy() async throws {
      let files = try TemporaryDirectory()
      let whole = try files.write("m.safetensors", Self.model)
      try await withMount(whole) { mount in
        try files.makeDirectory("copy")
        try await Command.output(
          of: "cp", "\(mount.path)/a", "\(mount.path)/metadata.json", "\(files.path)/copy")
      }
      let copy = files.path.appending("copy")
      try await Packing.expectFailure(
        ["\(copy)", "-o", "\(files.path)/out"], in: files, status: 66, says: "copy/b", "--include",
        "--missing-ok")
      expectSame(try await Packing.pack(copy, options: ["--include", "a"]), Self.a, "the included tensor")
      let outcome = try await Packing.run(["\(copy)", "-o", "\(files.path)/out", "--missing-ok"])
      #expect(
        outcome.status == 0 && outcome.error.contains("warning: ") && outcome.error.contains("1 tensor"))
      expectSame(try OpenFile(files.path.appending("out")).bytes(), Self.a, "the existing file")
    }

    @Test(
      "Arrays beside another program's metadata.json are packed as if it were not there; a broken list is an error"
    )
    func foreignDocument() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let arrays = files.path.appending("arrays")
      try await Command.output(
        of: "\(Machine.link("stunpack"))", "--as", "npy", "\(source)", "\(arrays)")
      try files.write("arrays/metadata.json", text: #"{"foo": 1}"#)
      let packed = try await Packing.run(["\(arrays)", "-o", "\(files.path)/packed"])
      #expect(packed.status == 0 && packed.error.contains("are left out: 1"), "\(packed)")
      expectSame(
        try OpenFile(files.path.appending("packed")).bytes(), Self.model.asReferenceWrites.bytes, "the arrays"
      )
      let listed = try await Command.run("\(Machine.stls)", ["\(arrays)"])
      #expect(listed.status == 66 && !listed.error.contains("invalid metadata.json"), "\(listed.error)")
      for broken in [#"{"tensors": {"a": 1}}"#, #"{"tensors": {}"#] {
        try files.write("arrays/metadata.json", text: broken)
        try await Packing.expectFailure(
          ["\(arrays)", "-o", "\(files.path)/out"], in: files, status: 65,
          says: "invalid metadata.json at byte")
      }
    }

    @Test(#"In a replacement, \0 is the whole match, as & is"#)
    func wholeMatch() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", SafetensorsFile(.init("ab", "U8", [1], data: [5])))
      expectSame(
        try await Packing.pack(source, options: ["--rename", #"s/^(.)\w/\0.\1&\&/"#]),
        SafetensorsFile(.init("ab.aab&", "U8", [1], data: [5])).bytes, "the renamed model")
    }

    @Test("--exclude that leaves a tensor out of two inputs is refused, and --replace advised")
    func excludedTwice() async throws {
      let files = try TemporaryDirectory()
      let one = try files.write("one.safetensors", Self.model)
      let two = try files.write("two.safetensors", SafetensorsFile(.init("b", "U8", [1], data: [9])))
      let out = ["-o", "\(files.path)/out"]
      try await Packing.expectFailure(
        ["\(one)", "\(two)", "--exclude", "b"] + out, in: files, status: 65,
        says: "tensor 'b' out of two inputs",
        "--replace")
      try await Packing.expectFailure(
        ["\(one)", "\(two)"] + out, in: files, status: 65, says: "choose one with --replace")
      let packed = try await Packing.pack(one, two, options: ["--replace", "b=\(two)"])
      expectSame(
        packed, SafetensorsFile(Self.model.tensors[0], .init("b", "U8", [1], data: [9])).bytes, "the file")
    }

    @Test("--replace takes a tensor from an array or a model, and warns if its type or shape differs")
    func replace() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      var other = Self.model
      other.tensors[0].data = Array(repeating: 7, count: 12)
      let second = try files.write("other.safetensors", other)
      try await withMount(second) { mount in
        try await Command.output(of: "cp", "\(mount.path)/.npy/a.npy", "\(files.path)/new.npy")
      }
      var expected = Self.model
      expected.tensors[0].data = other.tensors[0].data
      for path in ["new.npy", "other.safetensors"] {
        let packed = try await Packing.pack(source, options: ["--replace", "a=\(files.path)/\(path)"])
        expectSame(packed, expected.bytes, path)
      }
      let renamed = try await Packing.pack(
        source, options: ["--replace", "a=\(files.path)/new.npy", "--rename", "s/a/x/", "--exclude", "b"])
      expectSame(
        renamed, SafetensorsFile(.init("x", "F32", [3], data: other.tensors[0].data)).bytes, "renamed")
      let changed = try await Packing.run([
        "\(source)", "-o", "\(files.path)/out", "--replace", "b=\(files.path)/new.npy",
      ])
      #expect(changed.status == 0, "\(changed)")
      #expect(changed.error == "stpack: warning: tensor 'b' was U8 [1] and is F32 [3] now\n", "\(changed)")
      // Only the tensors in the output count.
      try files.write("half.safetensors", SafetensorsFile(.init("a", "BF16", [3])))
      let same = try await Packing.run([
        "\(source)", "-o\(files.path)/same", "--dtype", "bf16", "--replace",
        "a=\(files.path)/half.safetensors",
      ])
      #expect(same.status == 0 && same.error.isEmpty, "\(same)")
      func fails(_ argument: String, _ status: Int32, _ words: String, _ more: String...) async throws {
        let outcome = try await Packing.run(
          ["\(source)", "-fo", "\(files.path)/out", "--replace", argument] + more)
        #expect(outcome.status == status && outcome.error.contains(words), "\(outcome)")
        #expect(outcome.errorLines.count == 1, "\(outcome)")
      }
      try await fails("c=\(files.path)/new.npy", 66, "no input has a tensor 'c'; the nearest names are '")
      try await fails("a=\(files.path)/none.npy", 66, "cannot open it")
      try await fails("a", 64, "expected NAME=PATH")
      try await fails(
        "a=\(files.path)/new.npy", 64, "--include or --exclude leaves tensor 'a' out", "--exclude", "a")
      try files.write("lacks.safetensors", SafetensorsFile(.init("c", "U8", [1])))
      try await fails("a=\(files.path)/lacks.safetensors", 66, "has no tensor 'a'")
    }

    @Test("A dry run needs no output")
    func dryRun() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let dry = try await Packing.run(["\(source)", "-n"])
      #expect(dry.status == 0 && dry.error.isEmpty, "\(dry)")
      let listed = try await Command.output(of: "\(Machine.stls)", "\(source)")
      // An input can be a part of a model, so stpack does not call its elements parameters.
      #expect(listed.replacing(" parameters:", with: " elements:") == dry.text)
    }

    @Test(
      "A size of 2K is 2048 bytes, as in coreutils, and 2KB is 2000",
      arguments: [
        ("2K", 1), ("2KB", 2), ("2KiB", 1), ("0.002M", 1), ("1G", 1), ("10MiB", 1), ("2047", 2), ("2 T", 1),
      ])
    func sizes(size: String, count: Int) async throws {
      let files = try TemporaryDirectory()
      let source = try files.write(
        "m.safetensors", SafetensorsFile(.init("a", "U8", [1048]), .init("b", "U8", [1000])))
      let dry = try await Packing.run(["\(source)", "-n", "--max-shard-size", size])
      #expect(dry.text.contains("2 tensors, \(count) file"), "\(dry)")
    }

    @Test(
      "--order aligned writes tensors whose size is a multiple of the alignment first, and prints how many are aligned"
    )
    func alignedOrder() async throws {
      let files = try TemporaryDirectory()
      let model = SafetensorsFile(
        .init("a", "F64", [1]), .init("b", "U8", [4096]), .init("c", "F32", [2048]), .init("d", "U8", [3]),
        .init("e", "BF16", [5]))
      let source = try files.write("m.safetensors", model)
      let outcome = try await Packing.run(["\(source)", "-o", "\(files.path)/out", "--order", "aligned"])
      #expect(outcome.status == 0, "\(outcome)")
      #expect(outcome.error == "stpack: 3 of 5 tensors begin at a multiple of 4096 bytes\n", "\(outcome)")
      var expected = SafetensorsFile([2, 1, 0, 4, 3].map { model.tensors[$0] })
      let json = expected.header.reversed().drop { $0 == UInt8(ascii: " ") }.count
      expected.padding = 4096 - 8 - json
      expectSame(try OpenFile(files.path.appending("out")).bytes(), expected.bytes, "the file")
    }

    @Test("Arrays in Fortran order, and converted types, equal those of NumPy and ml_dtypes")
    func numPy() async throws {
      let output = try await Reference.run("conversions.py", "\(Machine.stpack)")
      #expect(output.hasPrefix("72 arrays in Fortran order; "), "\(output)")
      #expect(output.contains("types converted"), "\(output)")
    }

    @Test(
      "Values beyond the largest are counted and refused without --saturate; other types are refused"
    )
    func range() async throws {
      let files = try TemporaryDirectory()
      // The values are 65504, 65519.996, 65520, -1e30, infinity and NaN.
      let words: [UInt32] = [0x477F_E000, 0x477F_EFFF, 0x477F_F000, 0xF149_F2CA, 0x7F80_0000, 0x7FC0_0000]
      let data = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
      let model = SafetensorsFile(.init("w", "F32", [6], data: data), .init("n", "I32", [1]))
      let source = try files.write("m.safetensors", model)
      try await Packing.expectFailure(
        ["\(source)", "-o", "\(files.path)/out", "--dtype", "f16"], in: files, status: 65,
        says: "tensor 'w': 2 values outside the range of F16", "--saturate")
      let halves: [UInt16] = [0x7BFF, 0x7BFF, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00]
      let packed = try await Packing.pack(source, options: ["--dtype", "f16", "--saturate"])
      let expected = SafetensorsFile(
        model.tensors[1],
        .init("w", "F16", [6], data: halves.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }))
      expectSame(packed, expected.bytes, "the file")
      _ = try await Packing.pack(source, options: ["--dtype", "bf16"])
      func fails(_ type: String, _ status: Int32, _ words: String) async throws {
        try await Packing.expectFailure(
          ["\(source)", "-o", "\(files.path)/out", "--dtype", type], in: files, status: status, says: words)
      }
      try await fails(
        "n=f16", 65, "tensor 'n' is I32, and only floating-point tensors can be converted to F16")
      try await fails("f8", 64, "expected f16, bf16 or f32")
      let some = try await Packing.pack(source, options: ["--dtype", "bf16", "--dtype", "w=f32"])
      expectSame(some, model.asReferenceWrites.bytes, "the file as it was")
    }
  }
}
