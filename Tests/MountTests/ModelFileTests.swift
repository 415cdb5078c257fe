import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// `.model.safetensors`: the whole model as one file.
  @Suite struct ModelFileTests {
    private static let model = SafetensorsFile(
      [
        .init("a/weight", "BF16", [400, 300]), .init("b", "F32", [70_001]), .init("c", "I8", [5]),
        .init(".model.safetensors", "U8", [3]), .init("empty", "F16", [0]), .init("s", "I64", []),
      ], metadata: ["format": "pt"])

    /// Sources of every kind that have the tensors of the model.
    private static func sources(in directory: TemporaryDirectory) throws -> [FilePath] {
      var parts = [model, model]
      parts[0].tensors.removeLast(3)
      parts[1].tensors.removeFirst(3)
      for (number, part) in parts.enumerated() {
        try directory.write("set/model-0000\(number + 1)-of-00002.safetensors", part)
      }
      var torch = TorchFile()
      let storage = torch.addStorage("Float", count: 60_000)
      torch.object = .ordered([
        "t": torch.view(of: storage, [300, 200], strides: [1, 300]), "u": torch.view(of: storage, [60_000]),
      ])
      return [
        try directory.write("m.safetensors", model), directory.path.appending("set"),
        try directory.write("m.pt", torch),
      ]
    }

    @Test("The file is byte-identical to stpack's output for the same source, by every way of reading")
    func content() async throws {
      let directory = try TemporaryDirectory()
      for source in try Self.sources(in: directory) {
        let packed = try await Packing.pack(source)
        try await withMount(source) { mount in
          expectSame(try mount.bytes(".model.safetensors"), packed, "\(source)")
          let file = try OpenFile(mount.file(".model.safetensors"))
          expectSame(try file.mapped(packed.count, MAP_SHARED), packed, "mapped")
          let direct = try OpenFile(mount.file(".model.safetensors"), OpenFile.direct)
          expectSame(try direct.alignedBytes(1 << 20, at: 0), packed.prefix(1 << 20), "O_DIRECT")
          for offset in [1, 7, 100, 999, 4095, 200_001, packed.count - 3] where offset < packed.count {
            expectSame(
              try file.bytes(150_000, at: offset), packed.dropFirst(offset).prefix(150_000), "at \(offset)")
          }
          let names = try Listing(mount.path).rest().map { "\($0.name)" }
          #expect(!names.contains(".model.safetensors"))
        }
      }
    }

    @Test("The reference opens the file as a model with the same tensors")
    func reference() async throws {
      let directory = try TemporaryDirectory()
      for source in try Self.sources(in: directory) {
        try await withMount(source) { mount in
          try await Reference.run("whole_model.py", "\(mount.path)")
        }
      }
    }

    @Test("A tensor of that name has a path of its own, and several models have a file each")
    func names() async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", Self.model)
      try await withMount(source) { mount in
        let bytes = try mount.bytes("%2Emodel.safetensors")
        #expect(bytes == Self.model.tensors[3].data)
      }
      for name in ["rank0", "rank1"] { try directory.write("ranks/\(name).safetensors", Self.model) }
      let packed = try await Packing.pack(source)
      try await withMount(directory.path.appending("ranks")) { mount in
        expectSame(try mount.bytes("rank1/.model.safetensors"), packed, "of a component")
        _ = #expect(throws: Errno.noSuchFileOrDirectory) { try mount.bytes(".model.safetensors") }
      }
    }

    @Test("Entries of __metadata__ about which two files disagree are left out; the log names them")
    func contradiction() async throws {
      let directory = try TemporaryDirectory()
      let parts = [("a", "1"), ("b", "2")].map { name, value in
        SafetensorsFile([.init(name, "U8", [1])], metadata: ["format": "pt", "k": value])
      }
      let one = try directory.write("1.safetensors", parts[0])
      let two = try directory.write("2.safetensors", parts[1])
      let whole = SafetensorsFile(parts.flatMap(\.tensors), metadata: ["format": "pt"]).asReferenceWrites
      try await withMount(one, two) { mount in
        expectSame(try mount.bytes(".model.safetensors"), whole.bytes, "the model")
      }
      let line = "__metadata__ has different values for 'k'; .model.safetensors omits them"
      let status = try await withForegroundMount(one, two, options: ["--log-level", "info"]) { mount in
        let log = try mount.log
        #expect(log.contains { $0.contains(line) }, "\(log)")
        mount.send(SIGTERM)
      }
      #expect(status == 0)
    }

    @Test("Tensors that a mount leaves out are not in the file; with one named __metadata__ it is absent")
    func absent() async throws {
      for (key, type, bytes) in [("__metadata__", "Byte", 1), ("complex", "ComplexDouble", 16)] {
        let directory = try TemporaryDirectory()
        var file = TorchFile()
        let kept = file.tensor("Byte", [2], data: [1, 2])
        let other = file.tensor(type, [1], data: Array(repeating: 3, count: bytes))
        file.object = .pairs([(.string("kept"), kept), (.string(key), other)])
        let expected = SafetensorsFile(.init("kept", "U8", [2], data: [1, 2])).asReferenceWrites.bytes
        try await withMount(try directory.write("m.pt", file)) { mount in
          let kept = try mount.bytes("kept")
          #expect(kept == [1, 2])
          if type == "Byte" {
            _ = #expect(throws: Errno.noSuchFileOrDirectory) { try mount.bytes(".model.safetensors") }
          } else {
            expectSame(try mount.bytes(".model.safetensors"), expected, "the rest")
          }
        }
      }
    }

    @Test(
      "Once a shard has changed, a read of the header with another shard's data fails; one of that data does not"
    )
    func changedHeader() async throws {
      let directory = try TemporaryDirectory()
      try directory.write(
        "set/model-00001-of-00002.safetensors", SafetensorsFile(.init("a", "F32", [40_000])))
      let shard = try directory.write(
        "set/model-00002-of-00002.safetensors", SafetensorsFile(.init("b", "U8", [10])))
      try await withMount(directory.path.appending("set")) { mount in
        let before = try mount.bytes(".model.safetensors")
        let writer = try FileDescriptor.open(shard, .writeOnly)
        try writer.closeAfter { _ = try writer.writeAll([1]) }
        let tensor = try OpenFile(mount.file("b"), OpenFile.direct)
        #expect(throws: Errno.ioError) { try tensor.alignedBytes(512, at: 0) }
        let file = try OpenFile(mount.file(".model.safetensors"), OpenFile.direct)
        for count in [512, 4096, 65_536] {
          #expect(throws: Errno.ioError) { try file.alignedBytes(count, at: 0) }
        }
        expectSame(try file.alignedBytes(4096, at: 8192), before[8192..<12_288], "data")
      }
    }

    @Test("Once a shard has changed, reads of its tensors and of the header fail with EIO")
    func changed() async throws {
      let directory = try TemporaryDirectory()
      let set = try Self.sources(in: directory)[1]
      try await withMount(set) { mount in
        let before = try mount.bytes(".model.safetensors")
        let shard = set.appending("model-00002-of-00002.safetensors")
        let writer = try FileDescriptor.open(shard, .writeOnly)
        try writer.closeAfter { _ = try writer.writeAll([1]) }
        let file = try OpenFile(mount.file(".model.safetensors"), OpenFile.direct)
        #expect(throws: Errno.ioError) { try file.alignedBytes(512, at: 0) }
        #expect(throws: Errno.ioError) { try file.alignedBytes(before.count, at: 0) }
        #expect(mount.daemon.isRunning)
      }
    }
  }
}
