import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// A source on the FUSE file system of a test program, which fails on demand.
  @Suite struct SourceBelowTests {
    private static let tensor = SafetensorsFile.Tensor("w", "BF16", [1_000_001])

    /// Runs `body` with a model there, the file that stores it, and a function that makes its attributes fail or work again.
    private func withModel(
      _ options: String = "direct=0",
      _ body: (_ model: FilePath, _ file: FilePath, _ fail: (Bool) throws -> Void) async throws -> Void
    ) async throws {
      let files = [(name: "m.safetensors", contents: SafetensorsFile(Self.tensor))]
      try await withStore(files, options, "attr_timeout=0") { store in
        try await body(store.path.appending("m.safetensors"), store.below.appending("m.safetensors")) {
          fails in
          try store.set("stat_errors=\(fails ? 1000 : 0)")
        }
      }
    }

    @Test(
      "A source that cannot be mapped is mounted, and read in every way", arguments: ["auto", "mmap", "copy"])
    func unmappable(io: String) async throws {
      try await withModel("direct=1") { model, _, _ in
        #expect(throws: Errno.self) { try OpenFile(model).mapped(4096, MAP_SHARED) }
        let status = try await withForegroundMount(model, options: ["-o", "io=\(io)"]) { mount in
          expectSame(try OpenFile(mount.file("w")).bytes(), Self.tensor.data, "w")
          expectSame(
            try OpenFile(mount.file(".npy/w.npy")).bytes().suffix(4), [0, 0] + Self.tensor.data.suffix(2),
            "npy")
          expectSame(
            try OpenFile(mount.file("w")).mapped(Self.tensor.data.count, MAP_SHARED), Self.tensor.data,
            "mapped")
          #expect(try mount.log.isEmpty)
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }

    @Test(
      "While the attributes of a source cannot be read, reads fail with EIO and one line; afterwards they succeed, and a real change is detected"
    )
    func failingStatus() async throws {
      try await withModel { model, source, fail in
        let status = try await withForegroundMount(model) { mount in
          let file = try OpenFile(mount.file("w"))
          let direct = try OpenFile(mount.file("w"), OpenFile.direct)
          expectSame(try direct.alignedBytes(4096, at: 0), Self.tensor.data.prefix(4096), "before")
          try fail(true)
          for _ in 0..<3 { #expect(throws: Errno.ioError) { try direct.alignedBytes(4096, at: 4096) } }
          let failing = try mount.log
          #expect(
            failing.count == 1 && failing[0].contains("cannot be read: Input/output error"), "\(failing)")
          try fail(false)
          expectSame(try direct.alignedBytes(4096, at: 0), Self.tensor.data.prefix(4096), "again")
          expectSame(try file.bytes(), Self.tensor.data, "all of it, into the kernel's cache")

          let writer = try FileDescriptor.open(source, .writeOnly)
          try writer.closeAfter { try writer.resize(to: 1000) }
          #expect(throws: Errno.ioError) { try direct.alignedBytes(4096, at: 0) }
          let isDropped = try await eventually { (try? file.bytes(1, at: 0)) == nil }
          #expect(isDropped, "what was read before is still there")
          let log = try mount.log
          #expect(log.count == 2 && log[1].contains("has changed since it was mounted"), "\(log)")
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }

    @Test("If a file system does not report all writes, one line says which rule applies")
    func unreported() async throws {
      try await withModel { model, _, _ in
        let status = try await withForegroundMount(model, options: ["--log-level", "notice"]) { mount in
          let log = try mount.log.filter { $0.contains("does not report all writes") }
          #expect(
            log.count == 1 && log[0].contains("unless mode, owner, link count or path changed too"), "\(log)")
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }
  }
}
