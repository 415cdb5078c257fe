import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The views, which show tensors in other forms.
  @Suite struct ViewTests {
    private static let views = [".npy", ".f32", ".safetensors"]

    /// Elements of `width` bits, packed from the lowest bit up.
    private static func packed(_ elements: Range<Int>, width: Int) -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: elements.count * width / 8)
      for (index, element) in elements.enumerated() {
        for bit in 0..<width where element >> bit & 1 == 1 {
          bytes[(index * width + bit) / 8] |= 1 << UInt8((index * width + bit) % 8)
        }
      }
      return bytes
    }

    /// Every bit pattern of every type of up to 16 bits, and shapes of all kinds.
    private static var patterns: SafetensorsFile {
      var tensors = TensorData.bitSizes.map { dtype, width in
        guard width <= 16, dtype != "BOOL" else { return SafetensorsFile.Tensor(dtype, dtype, [2, 3, 4]) }
        let shape = [1 << (width / 2), 1 << (width - width / 2)]
        return SafetensorsFile.Tensor(dtype, dtype, shape, data: packed(0..<1 << width, width: width))
      }
      tensors += [
        .init("scalar", "BF16", []), .init("empty", "F8_E4M3", [0, 3]), .init("vector", "F4", [10]),
        .init("a", "U8", [1]), .init("a.npy/x", "BF16", [7]), .init("b.safetensors/x/y", "F16", [3, 0, 2]),
        .init("deep", "F32", Array(repeating: 1, count: 30)),
        // Without padding, the NPY header of this shape would already be aligned.
        .init("wide", "F64", [1, 1, 1, 1, 1, 1, 1, 2]),
      ]
      return SafetensorsFile(tensors, metadata: ["format": "pt", "tab\t": "\"é\\"], padding: 5)
    }

    /// Tensors that take many requests, and begin at odd offsets.
    private static let large = SafetensorsFile(
      [
        .init("before", "U8", [3]), .init("bf16", "BF16", [700_001]), .init("f8", "F8_E5M2", [1_200_003]),
        .init("f6", "F6_E3M2", [900_004]), .init("f4", "F4", [1_000_002]), .init("i64", "I64", [100_001]),
      ], padding: 3)

    @Test("Every tensor in every view equals that of NumPy, ml_dtypes and safetensors, bit by bit")
    func reference() async throws {
      let directory = try TemporaryDirectory()
      try await withMount(try directory.write("m.safetensors", Self.patterns)) { mount in
        let table = try await Reference.run("views.py", "\(mount.path)")
        // The comparison covered every bit pattern.
        for (dtype, width) in TensorData.bitSizes where width <= 16 && dtype != "BOOL" {
          #expect(table.contains("| \(1 << width) |"), "\(dtype)")
        }
      }
    }

    @Test("The float tables of the tests are those of ml_dtypes")
    func tables() async throws {
      let tables = Reference.root.appending("Tests").appending("TensorFilesTests").appending(
        "FloatTables.swift")
      #expect(try await Reference.run("float_tables.py", "--check", "\(tables)") == "1424")
    }

    @Test("Views can be opened by name and are not listed, so a walk sees each tensor once")
    func hidden() async throws {
      let directory = try TemporaryDirectory()
      let file = SafetensorsFile(.init("a/b", "BF16", [2]), .init("c", "I64", [1]))
      try await withMount(try directory.write("m.safetensors", file)) { mount in
        try expectTree(mount.path, ["a/b": file.tensors[0].data, "c": file.tensors[1].data])
        let expected = [
          ".npy": ["a/b.npy", "c.npy"], ".f32": ["a/b"],
          ".safetensors": ["a/b.safetensors", "c.safetensors"],
        ]
        for view in Self.views {
          let walk = try Walk(mount.file(view))
          expectSamePaths(walk.files, (expected[view] ?? []).map { FilePath($0) })
          expectSamePaths(walk.directories, ["a"])
        }
        #expect(throws: Errno.noSuchFileOrDirectory) { try Stat(mount.file(".f32/c")) }
        #expect(throws: Errno.noSuchFileOrDirectory) { try Stat(mount.file(".npy/metadata.json")) }
        #expect(throws: Errno.noSuchFileOrDirectory) { try Stat(mount.file("a/.npy")) }
      }
    }

    @Test("Of several models each has its views, and so has the mount's root")
    func components() async throws {
      let directory = try TemporaryDirectory()
      for rank in 0...1 {
        let file = SafetensorsFile(.init("w", "BF16", [3], data: [0, 0, 0x80, 0x3F, UInt8(rank), 0x40]))
        try directory.write("rank\(rank).safetensors", file)
      }
      try await withMount(directory.path) { mount in
        for rank in 0...1 {
          let expected: [UInt8] = [0, 0, 0, 0, 0, 0, 0x80, 0x3F, 0, 0, UInt8(rank), 0x40]
          for path in ["rank\(rank)/.f32/w", ".f32/rank\(rank)/w"] {
            #expect(try mount.bytes(path) == expected, "\(path)")
          }
          for path in ["rank\(rank)/.f32/..", ".f32/rank\(rank)/../../rank\(rank)"] {
            #expect(try Stat(mount.file(path)).inode == Stat(mount.file("rank\(rank)")).inode, "\(path)")
          }
        }
        expectSamePaths(try Walk(mount.file(".npy")).files, ["rank0/w.npy", "rank1/w.npy"])
      }
    }

    @Test(
      "pread, O_DIRECT and mmap return any part of a view as in the whole file",
      arguments: zip([1, 2, 3] as [UInt64], ["io=auto", "io=mmap", "io=copy"]))
    func windows(seed: UInt64, options: String) async throws {
      var generator = SeededGenerator(seed: seed)
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", Self.large)
      try await withMount(source, options: ["-o", options]) { mount in
        let arrays = try Walk(mount.file(".npy")).files.map { FilePath(".npy").appending($0.components) }
        for path in arrays + [".f32/f6", ".f32/f4", ".safetensors/f8.safetensors"] {
          let file = try OpenFile(mount.path.appending(path.components))
          let whole = try file.bytes()
          #expect(whole.count == Int(try Stat(mount.path.appending(path.components)).size), "\(path)")
          expectSame(try file.mapped(whole.count, MAP_SHARED), whole, "\(path), mapped")
          // O_DIRECT bypasses the page cache, so the kernel asks the daemon for exactly these bytes.
          let direct = try OpenFile(mount.path.appending(path.components), OpenFile.direct)
          for round in 0..<120 {
            // Prefers offsets near the end of the header.
            let lower = round % 3 == 0 ? Int.random(in: 0...300, using: &generator) : nil
            let offset = min(lower ?? Int.random(in: 0...whole.count, using: &generator), whole.count)
            let count = Int.random(in: 0...(round % 4 == 0 ? 2_000_000 : 40), using: &generator)
            let expected = whole.dropFirst(offset).prefix(count)
            let what = "\(path): seed \(seed), \(count) bytes at \(offset)"
            expectSame(try file.bytes(count, at: offset), expected, what)
            expectSame(try direct.alignedBytes(count, at: offset), expected, what + ", direct")
          }
        }
      }
    }

    @Test("BF16 widens to its bytes after two zeros, over requests of any size")
    func widenedContents() async throws {
      let directory = try TemporaryDirectory()
      try await withMount(try directory.write("m.safetensors", Self.large)) { mount in
        let data = Self.large.tensors[1].data
        var expected = [UInt8](repeating: 0, count: 2 * data.count)
        for index in data.indices { expected[index / 2 * 4 + 2 + index % 2] = data[index] }
        expectSame(try mount.bytes(".f32/bf16"), expected, "float32")
        expectSame(Array(try mount.bytes(".npy/bf16.npy").dropFirst(128)), expected, "NPY")
        expectSame(
          Array(try mount.bytes(".safetensors/bf16.safetensors").suffix(data.count)), data, "a model")
      }
    }

    @Test("Every name of the tree has its file in the views, however long it is")
    func longNames() async throws {
      let directory = try TemporaryDirectory()
      let names = [
        String(repeating: "a", count: 251), String(repeating: "a", count: 252),
        String(repeating: "é", count: 127),
        String(repeating: "語", count: 300), String(repeating: "a", count: 251) + ".npy/x", "%2Enpy", ".npy/x",
        "x\ny",
      ]
      let file = SafetensorsFile(names.map { .init($0, "BF16", [1]) })
      try await withMount(try directory.write("m.safetensors", file)) { mount in
        for view in Self.views {
          let walk = try Walk(mount.file(view))
          #expect(walk.files.count == names.count, "\(view)")
          #expect(Set(walk.files).count == names.count, "\(view)")
        }
      }
    }

    // MARK: - Extended attributes

    @Test("getxattr and listxattr respect the size of the buffer, and no attribute can be set or removed")
    func extendedAttributes() async throws {
      let directory = try TemporaryDirectory()
      let file = SafetensorsFile(.init("a/é", "F8_E4M3", [2, 3]))
      try await withMount(try directory.write("m.safetensors", file)) { mount in
        for path in ["a/é", ".npy/a/é.npy", ".f32/a/é", ".safetensors/a/é.safetensors"] {
          try await Reference.run(
            "extended_attributes.py", "\(mount.file(path))", "user.safetensors.name=a/é",
            "user.safetensors.dtype=F8_E4M3", "user.safetensors.shape=[2, 3]",
            "user.safetensors.source=m.safetensors", "user.safetensors.offset=\(file.dataStart)")
        }
        for path in ["metadata.json", "a", ".npy"] {
          try await Reference.run("extended_attributes.py", "\(mount.file(path))")
        }
      }
    }

    @Test("getfattr shows a name as it is, and fails with E2BIG for one that is too long")
    func longAttribute() async throws {
      let directory = try TemporaryDirectory()
      let names = [String(repeating: "n", count: 65_536), String(repeating: "m", count: 65_537)]
      let source = try directory.write("m.safetensors", SafetensorsFile(names.map { .init($0, "U8", [1]) }))
      try await withMount(source) { mount in
        for (name, isShown) in zip(names, [true, false]) {
          let path = try #require(
            try Walk(mount.path).files.first { "\($0)".first == name.first && "\($0)" != "metadata.json" })
          let outcome = try await Command.run(
            "getfattr",
            ["--only-values", "-n", "user.safetensors.name", "\(mount.path.appending(path.components))"])
          #expect(isShown ? outcome.text == name : outcome.status != 0)
          if !isShown { #expect(outcome.error.contains("Argument list too long"), "\(outcome.error)") }
        }
      }
    }
  }
}
