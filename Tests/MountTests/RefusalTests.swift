import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// A mount is read-only, also for root.
  @Suite struct RefusalTests {
    private static let model = SafetensorsFile(.init("w", "U8", [5000]), .init("a/b", "U8", [1]))

    @Test("Every system call that would change something fails with EROFS, and changes nothing")
    func modifications() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try await withMount(path) { mount in
        let before = try Stat(mount.file("w"))
        for modification in Modification.allCases {
          #expect(modification.attempt(in: mount.path) == .readOnlyFileSystem, "\(modification)")
        }
        try expectTree(mount.path, ["w": Self.model.tensors[0].data, "a/b": Self.model.tensors[1].data])
        #expect(try Stat(mount.file("w")) == before)
      }
      expectSame(try OpenFile(path).bytes(), Self.model.bytes, "the source")
    }

    @Test("A file cannot be mapped shared and writable; a private mapping can be written to")
    func writableMapping() async throws {
      let files = try TemporaryDirectory()
      try await withMount(try files.write("m.safetensors", Self.model)) { mount in
        let file = try OpenFile(mount.file("w"))
        let shared = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor.rawValue, 0)
        #expect(unsafe shared == MAP_FAILED)
        let address = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.descriptor.rawValue, 0)
        let mapping = unsafe try #require(address)
        try #require(unsafe mapping != MAP_FAILED)
        defer { unsafe munmap(mapping, 4096) }
        unsafe mapping.storeBytes(of: 0xFF, as: UInt8.self)
        expectSame(try file.bytes(4096, at: 0), Self.model.tensors[0].data.prefix(4096), "the file")
      }
    }

    @Test("No file on a mount can be executed, whatever its contents")
    func execution() async throws {
      let files = try TemporaryDirectory()
      let script = SafetensorsFile(.init("script", "U8", [10], data: Array("#!/bin/sh\n".utf8)))
      let path = try files.write("m.safetensors", script)
      try #require(unsafe chmod("\(path)", 0o755) == 0)
      try await withMount(path) { mount in
        let outcome = try await Command.run("env", ["\(mount.file("script"))"])
        // Status 126: the shell found the file, but may not execute it.
        #expect(outcome.status == 126)
      }
    }
  }
}
