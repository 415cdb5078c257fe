import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// File handles, which NFS servers use to keep files longer than the kernel keeps their inodes.
  @Suite struct HandleTests {
    private static let tensor = SafetensorsFile.Tensor("deep/er/w", "U8", [300_000])

    @Test("Files, views and directories are opened by handle after the kernel has dropped its caches")
    func droppedCaches() async throws {
      let files = try TemporaryDirectory()
      let program = try await CProgram("Handles").compile()
      let source = try files.write("m.safetensors", SafetensorsFile(Self.tensor))
      try await withMount(source) { mount in
        let names = [
          "deep/er/w", "metadata.json", ".npy/deep/er/w.npy", ".safetensors/deep/er/w.safetensors",
        ]
        let paths = (names + ["deep", "deep/er"]).map { "\(mount.file($0))" }
        let outcome = try await Command.run("\(program)", ["\(mount.path)"] + paths)
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        // Reads the files only now: the kernel does not drop an inode that has pages in memory.
        let expected = try names.flatMap { try mount.bytes($0) } + Array("er\nw\n".utf8)
        expectSame(outcome.output, expected, "what the handles lead to")
      }
    }
  }
}
