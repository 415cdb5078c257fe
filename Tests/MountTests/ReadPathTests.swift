import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// All ways from the source to the reader return the same bytes.
  @Suite struct ReadPathTests {
    /// A tensor larger than any request, at an odd offset, that ends in the middle of a page.
    private static let large = SafetensorsFile.Tensor("large", "U8", [(3 << 20) + 1001])
    private static let source = SafetensorsFile([.init("before", "U8", [5]), large], padding: 3)

    @Test(
      "Every way of reading returns the same bytes, in reads of any size",
      arguments: ["io=auto", "io=mmap", "io=copy", "direct_io", "direct_io,io=copy"])
    func everyPath(options: String) async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", Self.source)
      try await withMount(source, options: ["-o", options]) { mount in
        expectSame(try mount.bytes("large"), Self.large.data, options)
        var generator = SeededGenerator(seed: 7)
        let file = try OpenFile(mount.file("large"))
        for count in [1, 4095, 4096, 65_536, 131_072, 1 << 20] {
          for _ in 0..<4 {
            let offset = Int.random(in: 0..<Self.large.data.count - count, using: &generator)
            expectSame(
              try file.bytes(count, at: offset), Self.large.data[offset..<offset + count],
              "\(options): \(count) bytes at \(offset)")
          }
        }
      }
    }

    @Test("With direct_io, st_blksize is a MiB; without it, a page")
    func ioSize() async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", Self.source)
      try await withMount(source, options: ["-o", "direct_io"]) { mount in
        let status = try Stat(mount.file("large"))
        #expect(status.preferredIOBlockSize == 1 << 20)
      }
      try await withMount(source) { mount in
        let status = try Stat(mount.file("large"))
        #expect(status.preferredIOBlockSize == 4096)
      }
    }

    @Test("As root, the kernel's read-ahead is a MiB")
    func kernelReadAhead() async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", Self.source)
      try await withMount(source) { mount in
        let device = try await Command.output(of: "mountpoint", "-d", "\(mount.path)")
        #expect(try await Command.output(of: "cat", "/sys/class/bdi/\(device)/read_ahead_kb") == "1024")
      }
    }
  }
}
