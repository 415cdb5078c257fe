import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// A model that is mounted, and packed again.
  @Suite struct RoundTripTests {
    private static let model = SafetensorsFile(
      [
        .init("layer/0/weight", "BF16", [4, 3]), .init("layer", "F32", [3]), .init("", "U8", [2]),
        .init("a//b", "I8", [1]),
        .init("../../etc/passwd", "F64", [2]), .init("metadata.json", "I16", [3]),
        .init("x.npy/y", "U32", [2]),
        .init("\u{1}%é\u{202E}", "F8_E4M3", [5]), .init("empty", "F4", [0]), .init("scalar", "C64", []),
        .init(String(repeating: "long/", count: 9) + String(repeating: "é", count: 200), "U64", [1]),
      ], metadata: ["format": "pt"]
    ).asReferenceWrites

    /// Mounts a model and copies the mount or a view of it, as a user does.
    private func copy(_ source: FilePath, _ view: String, to directory: TemporaryDirectory) async throws
      -> FilePath
    {
      try await withMount(source) { mount in
        try await Command.output(of: "cp", "-r", "\(mount.path)/\(view)", "\(directory.path)/copy")
        return directory.path.appending("copy")
      }
    }

    @Test("Packing a mount, or a copy of one, gives the model again, byte for byte")
    func mount() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try await withMount(source) { mount in
        expectSame(try await Packing.pack(mount.path), Self.model.bytes, "the packed mount")
        try await Command.output(of: "cp", "-r", "\(mount.path)/", "\(files.path)/copy")
      }
      expectSame(
        try await Packing.pack(files.path.appending("copy")), Self.model.bytes, "the packed copy")
    }

    @Test("Packing a mount of shards with equal metadata, or a component of several, gives the model again")
    func severalSources() async throws {
      let files = try TemporaryDirectory()
      let half = Self.model.tensors.count / 2
      var parts = [Self.model, Self.model]
      parts[0].tensors.removeFirst(half)
      parts[1].tensors.removeLast(Self.model.tensors.count - half)
      for (number, part) in parts.enumerated() {
        try files.write("set/model-0000\(number + 1)-of-00002.safetensors", part)
        try files.write("pipe/part\(number)/model.safetensors", part)
      }
      try files.write("pipe/model_index.json", text: "{}")
      let set = files.path.appending("set")
      try await withMount(set) { mount in
        expectSame(try await Packing.pack(mount.path), Self.model.bytes, "the packed mount")
      }
      let pipe = files.path.appending("pipe")
      try await withMount(pipe) { mount in
        for source in [pipe, mount.path] {
          let outcome = try await Packing.run(["\(source)", "-o", "\(files.path)/out.safetensors"])
          #expect(outcome.status == 65, "\(outcome)")
          #expect(outcome.error.hasSuffix("it holds more than one model; name one of 'part0', 'part1'\n"))
        }
        let one = try await Packing.pack(mount.path.appending("part0"))
        expectSame(one, parts[0].bytes, "a component")
      }
    }

    @Test("Packing an edited copy gives the edited model")
    func edited() async throws {
      let files = try TemporaryDirectory()
      let copied = try await copy(files.write("m.safetensors", Self.model), "", to: files)
      let position = try #require(Self.model.tensors.firstIndex { $0.name == Array("layer".utf8) })
      var changed = Self.model
      changed.tensors[position].data = Array(repeating: 9, count: 12)
      try await Command.output(of: "chmod", "-R", "u+w", "\(copied)")
      try files.write("copy/layer", changed.tensors[position].data)
      expectSame(try await Packing.pack(copied), changed.bytes, "the edited model")
    }

    @Test("Packing the NumPy files of the view gives the tensors again, with types that NumPy lacks as F32")
    func arrays() async throws {
      let files = try TemporaryDirectory()
      var model = Self.model
      model.metadata = nil
      // The path of a name that is too long does not contain the whole name.
      model.tensors.removeAll { $0.name.count > 300 }
      let source = try files.write("m.safetensors", model)
      try await Reference.run("arrays.py", "make", "\(source)", "\(files.path)/expected.safetensors")
      let expected = try OpenFile(files.path.appending("expected.safetensors")).bytes()
      let copied = try await copy(source, ".npy", to: files)
      expectSame(try await Packing.pack(copied), expected, "the packed copy of the view")
      try await withMount(source) { mount in
        expectSame(
          try await Packing.pack(mount.path.appending(".npy")), expected, "the packed view")
        let one = try await Packing.pack(mount.path.appending(".npy/layer.npy"))
        let tensor = try #require(model.tensors.first { $0.name == Array("layer".utf8) })
        expectSame(one, SafetensorsFile(tensor).bytes, "one array")
      }
    }

    @Test("Files of numpy.save keep their type, and NumPy reads them back")
    func numPy() async throws {
      let files = try TemporaryDirectory()
      try await Reference.run("arrays.py", "save", "\(files.path)")
      let outcome = try await Packing.run(["\(files.path)/arrays", "-o", "\(files.path)/out.safetensors"])
      #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome)")
      let output = try await Reference.run("arrays.py", "compare", "\(files.path)")
      #expect(output == "13 types, 52 arrays")
    }

    @Test("A metadata.json that is not a mount's does not hide the model beside it")
    func foreignDocument() async throws {
      let files = try TemporaryDirectory()
      try files.write("m/metadata.json", text: #"{"author": "me"}"#)
      let path = files.path.appending("m")
      try await Packing.expectFailure(
        ["\(path)", "-o", "\(files.path)/out"], in: files, status: 66, says: "no .safetensors file")
      try files.write("m/model.safetensors", Self.model)
      expectSame(try await Packing.pack(path), Self.model.bytes, "the model")
      // A tensor whose name looks like a model's file does not hide the mount's metadata.json.
      let named = SafetensorsFile(.init("x.safetensors", "U8", [3]))
      let copied = try await copy(files.write("n.safetensors", named), "", to: files)
      expectSame(try await Packing.pack(copied), named.bytes, "the copy")
      // stpack does not take such a file for the model either if its size is wrong.
      try await Command.output(
        of: "sh", "-c", "rm \(copied)/x.safetensors; cp \(path)/model.safetensors \(copied)/x.safetensors")
      let broken = try await Packing.run(["\(copied)", "-o", "\(files.path)/out"])
      #expect(
        broken.status == 65 && broken.error.hasSuffix("metadata.json gives tensor 'x.safetensors' 3\n"),
        "\(broken)")
    }
  }
}
