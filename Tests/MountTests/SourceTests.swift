import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// All kinds of sources, each with the whole tree of its mount.
  @Suite struct SourceTests {
    private static let a = SafetensorsFile.Tensor("layer.0.a", "F32", [50])
    private static let b = SafetensorsFile.Tensor("layer.0.b", "BF16", [7, 3])
    private static let c = SafetensorsFile.Tensor("deep/layer.1.c", "U8", [5000])

    private static let one = "model-00001-of-00002.safetensors"
    private static let two = "model-00002-of-00002.safetensors"
    private static let index = ShardIndex(["layer.0.a": one, "layer.0.b": two, "deep/layer.1.c": two])

    private func expectABC(_ mount: MountedModel) throws {
      try expectTree(
        mount.path, ["layer.0.a": Self.a.data, "layer.0.b": Self.b.data, "deep/layer.1.c": Self.c.data])
    }

    private func writeShards(to files: TemporaryDirectory, in directory: String = "") throws {
      try files.write(directory + Self.one, SafetensorsFile(Self.a))
      try files.write(directory + Self.two, SafetensorsFile(Self.b, Self.c))
    }

    @Test(
      "A sharded set mounts by its index",
      arguments: ["model.safetensors.index.json", "model.safetensors.index.fp16.json"])
    func index(name: String) async throws {
      let files = try TemporaryDirectory()
      try writeShards(to: files)
      try await withMount(try files.write(name, Self.index)) { try expectABC($0) }
    }

    @Test("A sharded set mounts by its directory")
    func directoryWithIndex() async throws {
      let files = try TemporaryDirectory()
      try writeShards(to: files)
      try files.write("model.safetensors.index.json", Self.index)
      try files.write("config.json", text: "{}")
      try await withMount(files.path) { mount in
        try expectABC(mount)
        #expect(try mount.info.source == "\(files.path)")
      }
    }

    @Test("The index decides: tensors that it does not name are left out, with a warning that counts them")
    func extraTensors() async throws {
      let files = try TemporaryDirectory()
      try files.write(
        Self.one, SafetensorsFile(Self.a, .init("extra.1", "U8", [3]), .init("extra.2", "U8", [3])))
      try files.write(Self.two, SafetensorsFile(Self.b, Self.c))
      try files.write("model.safetensors.index.json", Self.index)
      let mountPoint = try files.makeDirectory("mnt")
      let status = try await withForegroundMount(files.path) { mount in
        try expectTree(
          mount.path, ["layer.0.a": Self.a.data, "layer.0.b": Self.b.data, "deep/layer.1.c": Self.c.data])
        let warnings = try mount.log.filter { $0.hasPrefix("stmount: warning: ") }
        #expect(warnings.count == 1 && warnings[0].contains("2 tensors"))
        try await Command.output(of: "umount", "\(mount.path)")
      }
      #expect(status == 0)
      #expect(try Walk(mountPoint).files.isEmpty)
    }

    @Test("Shards without an index mount by their directory")
    func bareShards() async throws {
      let files = try TemporaryDirectory()
      try writeShards(to: files)
      try await withMount(files.path) { try expectABC($0) }
    }

    @Test("Several files make one model")
    func severalFiles() async throws {
      let files = try TemporaryDirectory()
      let one = try files.write("x.safetensors", SafetensorsFile(Self.c, Self.a))
      let two = try files.write("sub/y.safetensors", SafetensorsFile(Self.b))
      try await withMount(one, two) { try expectABC($0) }
      try await withMount(two, one) { try expectABC($0) }
    }

    @Test("A directory with one file is that file, and model.safetensors takes precedence over others")
    func directoryWithFile() async throws {
      let files = try TemporaryDirectory()
      try files.write("any.safetensors", SafetensorsFile(Self.a, Self.b, Self.c))
      try await withMount(files.path) { try expectABC($0) }
      try files.write("model.safetensors", SafetensorsFile(.init("other", "U8", [1], data: [7])))
      try await withMount(files.path) { try expectTree($0.path, ["other": [7]]) }
    }

    @Test(
      "A Hugging Face snapshot of links into blobs mounts by its directory, and by the link to its index",
      arguments: [true, false])
    func huggingFaceSnapshot(byDirectory: Bool) async throws {
      let files = try TemporaryDirectory()
      let snapshot = "hub/models--org--name/snapshots/0123abc/"
      let blobs = "hub/models--org--name/blobs/"
      try files.write(blobs + "aaaa", SafetensorsFile(Self.a))
      try files.write(blobs + "bbbb", SafetensorsFile(Self.b, Self.c))
      try files.write(blobs + "cccc", Self.index)
      try files.makeLink(snapshot + Self.one, to: "../../blobs/aaaa")
      try files.makeLink(snapshot + Self.two, to: "../../blobs/bbbb")
      let index = try files.makeLink(snapshot + "model.safetensors.index.json", to: "../../blobs/cccc")
      let source = byDirectory ? files.path.appending(snapshot) : index
      try await withMount(source) { mount in
        try expectABC(mount)
        // Shards have their names in the snapshot, not their hashes.
        let entries = try await DocumentEntry.all(in: mount.file("metadata.json"))
        #expect(Set(entries.map(\.source)) == [Self.one, Self.two])
      }
    }

    @Test("A Hugging Face snapshot of one file mounts by the link to it")
    func huggingFaceFile() async throws {
      let files = try TemporaryDirectory()
      try files.write("blobs/aaaa", SafetensorsFile(Self.a, Self.b, Self.c))
      let link = try files.makeLink("snapshots/0123/model.safetensors", to: "../../blobs/aaaa")
      try await withMount(link) { mount in
        try expectABC(mount)
        #expect(try mount.info.source == "\(link)")
      }
    }

    @Test("A TensorRT-LLM checkpoint has one directory for each rank, with the same names in each")
    func ranks() async throws {
      let files = try TemporaryDirectory()
      let other = SafetensorsFile.Tensor("layer.0.a", "F32", [3], data: Array(1...12))
      try files.write("rank0.safetensors", SafetensorsFile(Self.a, Self.c))
      try files.write("rank1.safetensors", SafetensorsFile(other))
      try files.write("config.json", text: "{}")
      try await withMount(files.path) { mount in
        try expectTree(
          mount.path,
          [
            "rank0/layer.0.a": Self.a.data, "rank0/deep/layer.1.c": Self.c.data,
            "rank1/layer.0.a": other.data,
          ], models: ["rank0", "rank1"])
        let zero = try await DocumentEntry.all(in: mount.file("rank0/metadata.json"))
        let one = try await DocumentEntry.all(in: mount.file("rank1/metadata.json"))
        #expect(zero.map(\.path) == ["deep/layer.1.c", "layer.0.a"])
        #expect(one.map(\.path) == ["layer.0.a"])
      }
    }

    @Test("A diffusers pipeline has one directory for each component with weights, sharded or not")
    func pipeline() async throws {
      let files = try TemporaryDirectory()
      try files.write("model_index.json", text: "{\"_class_name\": \"StableDiffusionPipeline\"}")
      try files.write("vae/diffusion_pytorch_model.safetensors", SafetensorsFile(Self.a))
      try writeShards(to: files, in: "unet/")
      try files.write("unet/diffusion_pytorch_model.safetensors.index.json", Self.index)
      try files.write("text_encoder/model.safetensors", SafetensorsFile(Self.b))
      try files.write("scheduler/scheduler_config.json", text: "{}")
      try files.write("tokenizer/vocab.json", text: "{}")
      try await withMount(files.path) { mount in
        try expectTree(
          mount.path,
          [
            "vae/layer.0.a": Self.a.data, "unet/layer.0.a": Self.a.data, "unet/layer.0.b": Self.b.data,
            "unet/deep/layer.1.c": Self.c.data, "text_encoder/layer.0.b": Self.b.data,
          ], models: ["vae", "unet", "text_encoder"])
        let inodes = try (Walk(mount.path).files).map {
          try Stat(mount.path.appending($0.components)).inode.rawValue
        }
        #expect(Set(inodes).count == 8)
      }
    }

    @Test("Bytes after the last tensor are accepted with --lenient, and the tensors are right")
    func lenient() async throws {
      let files = try TemporaryDirectory()
      var model = SafetensorsFile(Self.a, Self.b, Self.c)
      model.trailing = [1, 2, 3, 4]
      let path = try files.write("m.safetensors", model)
      try await withMount(path, options: ["--lenient"]) { try expectABC($0) }
    }
  }
}
