import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// A disk that fails or is unmounted below a mounted model. The disk is a file system in a file, on a loop device.
  @Suite struct FailingStorageTests {
    private static let tensor = SafetensorsFile.Tensor("w", "U8", [3_000_000])
    private static let other = SafetensorsFile.Tensor("other", "BF16", [50_000])

    /// Runs `body` with a model on a disk, and a function that makes the disk fail by truncating its image. The page cache then has
    /// only the model's header.
    private func withDisk(
      _ body: (_ model: FilePath, _ disk: FilePath, _ fail: () throws -> Void) async throws -> Void
    ) async throws {
      let directory = try TemporaryDirectory()
      let image = try directory.write("image", text: "")
      let file = try FileDescriptor.open(image, .readWrite, options: .closeOnExec)
      defer { try? file.close() }
      try file.resize(to: 32 << 20)
      try await Command.output(of: "mkfs.ext4", "-q", "-F", "\(image)")
      let disk = try directory.makeDirectory("disk")
      try await Command.output(of: "mount", "-o", "loop", "\(image)", "\(disk)")
      defer { _ = unsafe umount2("\(disk)", Int32(MNT_DETACH)) }
      let model = try directory.write("disk/m.safetensors", SafetensorsFile(Self.tensor))
      // Unmounting drops all pages from the page cache.
      try await Command.output(of: "umount", "\(disk)")
      try await Command.output(of: "mount", "-o", "loop,ro", "\(image)", "\(disk)")
      try await body(model, disk) { try file.resize(to: 0) }
    }

    @Test(
      "A failing disk gives EIO by every way of reading, and one line; other sources and the daemon continue",
      arguments: ["auto", "mmap", "copy"])
    func failingDisk(io: String) async throws {
      let files = try TemporaryDirectory()
      let other = try files.write("o.safetensors", SafetensorsFile(Self.other))
      try await withDisk { model, _, fail in
        let status = try await withForegroundMount([model, other], options: ["-o", "io=\(io)"]) { mount in
          let start = try OpenFile(mount.file("w")).bytes(4096, at: 0)
          expectSame(start, Self.tensor.data.prefix(4096), "the beginning")
          #expect(try mount.log.isEmpty)
          try fail()
          for path in ["w", ".npy/w.npy", ".safetensors/w.safetensors"] {
            let file = try OpenFile(mount.file(path))
            #expect(throws: Errno.ioError, "\(path): read") { try file.bytes(100, at: 2_500_000) }
            #expect(throws: Errno.ioError, "\(path): long read") { try file.bytes(400_000, at: 2_100_000) }
            #expect(throws: Errno.ioError, "\(path): sendfile") { try file.sent(100, from: 2_700_000) }
            let direct = try OpenFile(mount.file(path), OpenFile.direct)
            #expect(throws: Errno.ioError, "\(path): O_DIRECT") {
              try direct.alignedBytes(4096, at: 2_600_960)
            }
            let mapped = try await MappedReader.bytes(of: mount.file(path))
            #expect(mapped == nil, "\(path): mmap")
          }
          expectSame(try OpenFile(mount.file("other")).bytes(), Self.other.data, "another source")
          #expect(try OpenFile(mount.file(".f32/other")).bytes().count == 200_000)
          #expect(try OpenFile(mount.file("metadata.json")).bytes().last == UInt8(ascii: "\n"))
          let log = try mount.log
          #expect(
            log.count == 1 && log[0].contains("m.safetensors' cannot be read: Input/output error"), "\(log)")
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }

    @Test("A file system that is unmounted lazily below a model still gives the correct bytes")
    func unmountedDisk() async throws {
      try await withDisk { model, disk, _ in
        try await withMount(model) { mount in
          try await Command.output(of: "umount", "-l", "\(disk)")
          #expect(throws: Errno.noSuchFileOrDirectory) { try OpenFile(model) }
          expectSame(try mount.bytes("w"), Self.tensor.data, "w")
        }
      }
    }

    @Test(
      "A FUSE file system below a model that dies gives EIO, and one line"
    )
    func deadFileSystem() async throws {
      let files = try TemporaryDirectory()
      try files.write("below/m.safetensors", SafetensorsFile(Self.tensor))
      let disk = try files.makeDirectory("disk")
      try await Command.output(of: "bindfs", "\(files.path.appending("below"))", "\(disk)")
      defer { _ = unsafe umount2("\(disk)", Int32(MNT_DETACH)) }
      let status = try await withForegroundMount([disk.appending("m.safetensors")]) { mount in
        expectSame(
          try OpenFile(mount.file("w")).bytes(4096, at: 0), Self.tensor.data.prefix(4096), "the beginning")
        try await Command.output(of: "umount", "-f", "-l", "\(disk)")
        let file = try OpenFile(mount.file("w"))
        let isGone = try await eventually { (try? file.bytes(100, at: 2_500_000)) == nil }
        #expect(isGone, "reads go on without what they read")
        #expect(throws: Errno.ioError) { try file.bytes(400_000, at: 2_000_000) }
        #expect(try OpenFile(mount.file("metadata.json")).bytes().last == UInt8(ascii: "\n"))
        let log = try mount.log
        #expect(log.count == 1 && log[0].contains("m.safetensors'"), "\(log)")
        mount.send(SIGTERM)
      }
      #expect(status == 0)
    }
  }
}
