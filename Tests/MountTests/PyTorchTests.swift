import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Mounts of PyTorch files. Nothing in the files is executed.
  @Suite struct PyTorchTests {
    /// Tensors with all kinds of strides, and their bytes.
    private static func layouts(isLegacy: Bool) -> (
      file: TorchFile, contents: [(name: String, bytes: [UInt8])]
    ) {
      var file = TorchFile(isLegacy: isLegacy)
      let large = file.addStorage("BFloat16", count: 700 * 900)
      let small = file.addStorage("Long", count: 24)
      let views: [(name: String, storage: Int, offset: Int, shape: [Int], strides: [Int], width: Int)] = [
        ("whole", large, 0, [700, 900], [900, 1], 2), ("transposed", large, 0, [900, 700], [1, 900], 2),
        ("sliced", large, 3, [350, 100], [1800, 9], 2), ("expanded", large, 7, [300, 500], [0, 1], 2),
        ("offset", small, 5, [3, 2], [2, 1], 8), ("permuted", small, 0, [4, 2, 3], [1, 12, 4], 8),
        ("scalar", small, 23, [], [], 8), ("empty", small, 0, [0, 4], [4, 1], 8),
      ]
      var contents: [(name: String, bytes: [UInt8])] = []
      var entries: [(PickledValue, PickledValue)] = []
      for view in views {
        entries.append(
          (
            .string(view.name),
            file.view(of: view.storage, offset: view.offset, view.shape, strides: view.strides)
          ))
        contents.append(
          (
            view.name,
            file.elements(
              of: view.storage, offset: view.offset, view.shape, strides: view.strides, width: view.width)
          ))
      }
      file.object = .dictionary(["model": .pairs(entries), "epoch": .int(3)])
      return (file, contents)
    }

    /// The float32 of each BF16 element: two bytes of zero, then the element's bytes.
    private static func widened(_ bytes: [UInt8]) -> [UInt8] {
      var wide = [UInt8](repeating: 0, count: 2 * bytes.count)
      for index in bytes.indices { wide[index / 2 * 4 + 2 + index % 2] = bytes[index] }
      return wide
    }

    @Test(
      "Tensors of every layout are read correctly: by read, at odd offsets, with O_DIRECT and mapped",
      arguments: [false, true])
    func contents(isLegacy: Bool) async throws {
      let directory = try TemporaryDirectory()
      let (file, contents) = Self.layouts(isLegacy: isLegacy)
      var generator = SeededGenerator(seed: 1)
      try await withMount(try directory.write("m.pt", file)) { mount in
        for (name, expected) in contents {
          let path = mount.file("model.\(name)")
          #expect(try Stat(path).size == Int64(expected.count))
          let opened = try OpenFile(path)
          expectSame(try opened.bytes(), expected, name)
          if expected.isEmpty { continue }
          expectSame(try opened.mapped(expected.count, MAP_SHARED), expected, "\(name), mapped")
          let direct = try OpenFile(path, OpenFile.direct)
          for _ in 0..<40 {
            let offset = Int.random(in: 0..<expected.count, using: &generator)
            let count = Int.random(in: 1...(generator.oneIn(4) ? 300_000 : 30), using: &generator)
            let part = expected.dropFirst(offset).prefix(count)
            expectSame(try opened.bytes(count, at: offset), part, "\(name), \(count) at \(offset)")
            expectSame(
              try direct.alignedBytes(count, at: offset), part, "\(name), \(count) at \(offset), direct")
          }
        }
      }
    }

    @Test("The views of strided tensors equal those of NumPy, ml_dtypes and safetensors")
    func views() async throws {
      let directory = try TemporaryDirectory()
      let (file, contents) = Self.layouts(isLegacy: false)
      try await withMount(try directory.write("m.pt", file)) { mount in
        try await Reference.run("views.py", "\(mount.path)")
        for (name, bytes) in contents where ["transposed", "expanded", "sliced"].contains(name) {
          let wide = Self.widened(bytes)
          let opened = try OpenFile(mount.file(".f32/model.\(name)"), OpenFile.direct)
          for offset in [0, 4097, 65_531, wide.count - 5] {
            expectSame(
              try opened.alignedBytes(70_001, at: offset), wide.dropFirst(offset).prefix(70_001),
              "\(name) at \(offset)")
          }
        }
      }
    }

    @Test("A sharded set mounts by its index, and by its directory")
    func sharded() async throws {
      let directory = try TemporaryDirectory()
      var shards: [TorchFile] = []
      for part in 1...2 {
        var file = TorchFile(isLegacy: part == 2)
        let tensor = file.tensor("Float", [part, 3])
        file.object = .pairs([(.string("t\(part)"), tensor)])
        try directory.write("pytorch_model-0000\(part)-of-00002.bin", file)
        shards.append(file)
      }
      let index = try directory.write(
        "pytorch_model.bin.index.json",
        ShardIndex(["t1": "pytorch_model-00001-of-00002.bin", "t2": "pytorch_model-00002-of-00002.bin"]))
      for source in [index, directory.path] {
        try await withMount(source) { mount in
          try expectTree(mount.path, ["t1": shards[0].storages[0].data, "t2": shards[1].storages[0].data])
        }
      }
    }

    @Test("The bytes of a contiguous tensor are those of the file at the offset that metadata.json gives")
    func offsets() async throws {
      let directory = try TemporaryDirectory()
      var file = TorchFile()
      let tensor = file.tensor("Float", [100])
      file.object = .ordered(["w": tensor])
      let source = try directory.write("m.bin", file)
      try await withMount(source) { mount in
        let entry = try #require(try await DocumentEntry.all(in: mount.file("metadata.json")).first)
        let bytes = try OpenFile(source).bytes(entry.byteCount, at: entry.offset)
        expectSame(try mount.bytes("w"), bytes, "the tensor")
        expectSame(bytes, file.storages[0].data, "the source")
      }
    }

    @Test("A mount of a PyTorch file cannot be written to")
    func modifications() async throws {
      let directory = try TemporaryDirectory()
      var file = TorchFile()
      let tensor = file.tensor("Byte", [4])
      file.object = .ordered(["w": tensor, "a/b": tensor])
      try await withMount(try directory.write("m.pt", file)) { mount in
        for modification in Modification.allCases {
          #expect(modification.attempt(in: mount.path) == .readOnlyFileSystem, "\(modification)")
        }
      }
    }

    @Test("Once the source is truncated or written to, strided tensors and their views fail with EIO")
    func changedSource() async throws {
      for size in [0, 1 << 16, nil] as [Int64?] {
        let directory = try TemporaryDirectory()
        let (file, _) = Self.layouts(isLegacy: false)
        let source = try directory.write("m.pt", file)
        try await withMount(source) { mount in
          let files = try ["model.transposed", ".f32/model.sliced", ".npy/model.expanded.npy"].map {
            try OpenFile(mount.file($0), OpenFile.direct)
          }
          for file in files { #expect(try file.alignedBytes(100, at: 0).count == 100) }
          let writer = try FileDescriptor.open(source, .writeOnly)
          try writer.closeAfter {
            if let size {
              try writer.resize(to: size)
            } else {
              _ = try writer.writeAll(toAbsoluteOffset: 5, [0])
            }
          }
          for file in files {
            for offset in [0, 50_001] {
              #expect(throws: Errno.ioError) { try file.alignedBytes(4096, at: offset) }
            }
          }
          #expect(mount.daemon.isRunning)
        }
      }
    }

    @Test(
      "Truncating a source during reads of a strided tensor gives EIO or correct bytes, and no signal")
    func truncatedMeanwhile() async throws {
      let (file, contents) = Self.layouts(isLegacy: true)
      let expected = try #require(contents.first { $0.name == "transposed" }).bytes
      for round in 0..<6 {
        let directory = try TemporaryDirectory()
        let source = try directory.write("m.pt", file)
        try await withMount(source) { mount in
          let reading = onThread {
            try OpenFile(mount.file("model.transposed"), OpenFile.direct)
              .failures(expecting: expected, partSize: 1 << 18)
          }
          try await Task.sleep(for: .milliseconds(round))
          let writer = try FileDescriptor.open(source, .writeOnly)
          try writer.closeAfter { try writer.resize(to: 1 << 18) }
          #expect(try await reading.value > 0, "round \(round)")
          #expect(mount.daemon.isRunning)
        }
      }
    }

    // MARK: - Hostile files

    /// Pickles that would make Python create a file, each in a different way.
    private static func payloads(_ trace: FilePath) -> [(name: String, object: PickledValue)] {
      let command = PickledValue.string("touch \(trace)")
      let names = PickledValue.string("posix").opcodes + PickledValue.string("system").opcodes
      return [
        ("REDUCE", .call(.global("posix", "system"), [command])),
        ("REDUCE of a builtin", .call(.global("builtins", "eval"), [.string("open('\(trace)', 'w')")])),
        ("STACK_GLOBAL", .raw(names + [0x93] + PickledValue.tuple([command]).opcodes + [0x52])),
        ("INST", .raw([0x28] + command.opcodes + [0x69] + Array("posix\nsystem\n".utf8))),
        ("OBJ", .raw([0x28] + PickledValue.global("posix", "system").opcodes + command.opcodes + [0x6F])),
        (
          "NEWOBJ",
          .raw(
            PickledValue.global("posix", "system").opcodes + PickledValue.tuple([command]).opcodes + [0x81])
        ),
        ("BUILD", .state(.instance(.global("posix", "system")), .dictionary(["x": command]))),
        (
          "a persistent id",
          .persistent(.tuple([.string("module"), .call(.global("posix", "system"), [command])]))
        ),
        ("a nested pickle", .call(.global("torch.storage", "_load_from_bytes"), [command])),
      ]
    }

    @Test(
      "A pickle that would execute a command is refused with one line and 65, and the command is not executed"
    )
    func execution() async throws {
      let directory = try TemporaryDirectory()
      let mountPoint = try directory.makeDirectory("mnt")
      let trace = directory.path.appending("trace")
      for (name, object) in Self.payloads(trace) {
        var file = TorchFile()
        let tensor = file.tensor("Float", [1])
        file.object = .dictionary(["w": tensor, "evil": object])
        let cases = [("m.pt", file.archive.bytes), ("pytorch_model.bin", file.legacyBytes)]
        for (fileName, bytes) in cases {
          let source = try directory.write(fileName, bytes)
          for command in [try Machine.stmount, try Machine.stls] {
            let arguments = command.lastComponent == "stls" ? ["\(source)"] : ["\(source)", "\(mountPoint)"]
            let outcome = try await Command.run("\(command)", arguments)
            #expect(outcome.status == EX_DATAERR, "\(name)")
            #expect(outcome.errorLines.count == 1 && outcome.output.isEmpty, "\(name): \(outcome.error)")
            #expect(outcome.error.contains("refused"), "\(name): \(outcome.error)")
          }
        }
        #expect((try? Stat(trace)) == nil, "\(name) was run")
      }
      #expect(try MountInfo.all(at: mountPoint).isEmpty)
      // Python executes the pickle, so the payload works.
      let pickle = try directory.write("check.pkl", Self.payloads(trace)[0].object.pickle)
      try await Command.output(of: "python3", "-c", "import pickle; pickle.load(open('\(pickle)', 'rb'))")
      #expect((try? Stat(trace)) != nil, "the payload did not run")
    }

    @Test(
      "A pickled module shows the tensors of its state_dict, and a warning and metadata.json name its class")
    func pickledModule() async throws {
      let directory = try TemporaryDirectory()
      var file = TorchFile()
      let tensor = file.tensor("Float", [2])
      func module(
        _ parameters: KeyValuePairs<String, PickledValue>, _ modules: KeyValuePairs<String, PickledValue>
      )
        -> PickledValue
      {
        .state(
          .instance(.global("ultralytics.nn.tasks", "DetectionModel")),
          .dictionary([
            "training": .bool(false), "_parameters": .ordered(parameters), "_buffers": .ordered([:]),
            "_modules": .ordered(modules),
          ]))
      }
      file.object = .dictionary([
        "model": module([:], ["conv": module(["weight": tensor], [:])]), "storage": file.reference(0),
      ])
      let source = try directory.write("yolo.pt", file)
      try await withMount(source) { mount in
        #expect(try OpenFile(mount.file("model.conv.weight")).bytes() == file.storages[0].data)
        let document = String(decoding: try OpenFile(mount.file("metadata.json")).bytes(), as: UTF8.self)
        #expect(document.contains("\"pickle_globals\": [\n    \"ultralytics.nn.tasks.DetectionModel\"\n  ]"))
        #expect(
          document.contains("\"omitted\": {\n    \"storage\": \"is a storage of float32, not a tensor\"\n  }")
        )
      }
      let outcome = try await Command.run("\(try Machine.stls)", ["\(source)"])
      #expect(outcome.status == EX_OK)
      #expect(
        outcome.error.contains(
          "unknown classes and functions, not executed: ultralytics.nn.tasks.DetectionModel"),
        "\(outcome.error)")
    }

    // MARK: - Files from packages

    @Test("PyTorch files from packages equal those that Python's pickle and zipfile read")
    func packages() async throws {
      let files = try await Reference.run("pytorch_files.py", "--list").split(separator: "\n")
      #expect(files.count >= 10)
      for file in files {
        try await withMount(FilePath(String(file))) { mount in
          let result = try await Reference.run("pytorch_files.py", String(file), "\(mount.path)")
          #expect(result.hasSuffix(" bytes") && !result.hasPrefix("0 "), "\(file): \(result)")
        }
      }
    }
  }
}
