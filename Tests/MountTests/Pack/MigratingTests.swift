import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// Runs the commands of docs/MIGRATING.md, exactly as written, with each kind of model that users can migrate.
  @Suite struct MigratingTests {
    /// A model in an old format.
    struct Input: CustomTestStringConvertible, Sendable {
      let testDescription: String
      /// Writes it into a directory.
      let write: @Sendable (_ directory: String, _ files: TemporaryDirectory) throws -> Void
    }

    private static let parts = [
      SafetensorsFile(
        [.init("layer.0", "BF16", [3, 5]), .init("head/w", "F32", [7])], metadata: ["by": "me"]),
      SafetensorsFile(.init("layer.1", "F8_E4M3", [9]), .init("steps", "I64", [])),
    ]

    /// The same model, with one tensor transposed.
    private static func torchParts() -> [(file: TorchFile, names: [String])] {
      var first = TorchFile()
      let transposed = first.addStorage("BFloat16", count: 15)
      first.object = .ordered([
        "layer.0": first.view(of: transposed, [3, 5], strides: [1, 3]), "head/w": first.tensor("Float", [7]),
      ])
      var second = TorchFile()
      let bytes = second.addStorage("Untyped", count: 12)
      second.object = .ordered([
        "layer.1": second.view(of: bytes, as: "float8_e4m3fn", offset: 3, [9]),
        "steps": second.tensor("Long", []),
      ])
      return [(first, ["layer.0", "head/w"]), (second, ["layer.1", "steps"])]
    }

    private static let inputs = [
      Input(testDescription: "PyTorch's, in shards") { directory, files in
        var index = ShardIndex([])
        for (number, part) in torchParts().enumerated() {
          let name = "pytorch_model-0000\(number + 1)-of-00002.bin"
          try files.write("\(directory)/\(name)", part.file.archive.bytes)
          index.weightMap += part.names.map { ($0, name) }
        }
        try files.write("\(directory)/pytorch_model.bin.index.json", index)
      },
      Input(testDescription: "safetensors in shards") { directory, files in
        var index = ShardIndex([])
        for (number, part) in parts.enumerated() {
          let name = "model-0000\(number + 1)-of-00002.safetensors"
          try files.write("\(directory)/\(name)", part)
          index.weightMap += part.tensors.map { (String(decoding: $0.name, as: UTF8.self), name) }
        }
        try files.write("\(directory)/model.safetensors.index.json", index)
      },
      Input(testDescription: "safetensors in several files") { directory, files in
        for (number, part) in parts.enumerated() {
          try files.write("\(directory)/\(number).safetensors", part)
        }
      },
    ]

    @Test("The commands of MIGRATING.md inspect, convert and verify a model", arguments: inputs)
    func migrate(input: Input) async throws {
      func commands(_ name: String) throws -> String {
        try Documentation.commands(name, in: "docs/MIGRATING.md")
      }
      let space = try PrivateNamespace(model: Self.parts[0])
      try input.write("old", space.directory)
      try space.directory.write("bin/stpack", OpenFile(Machine.stpack).bytes(step: 1 << 24)).setPermissions(
        0o755)
      let output = try await space.run(
        """
        mount --make-rprivate /
        for place in /srv /mnt; do mount -t tmpfs tmpfs $place; done
        trap 'cd /; for place in /mnt/*; do umount -l "$place" 2>/dev/null || :; done' EXIT
        cp -r "$directory/old" /srv/old; cd /srv
        export PATH="$directory/bin:$PATH"
        \(try commands("look"))
        [ ! -e /srv/new ]
        \(try commands("convert"))
        \(try commands("prove"))
        wc -l <old.sums
        """)
      let lines = output.split(separator: "\n")
      #expect(lines.first == "head/w   F32      [7]     28", "\(output)")
      #expect(
        lines.suffix(4) == [
          "total 75 in 4 tensors, 1 file", "32 elements: BF16 15, F8_E4M3 9, F32 7, I64 1",
          "all tensors are the same", "4",
        ], "\(output)")
    }
  }
}
