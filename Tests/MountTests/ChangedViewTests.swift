import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Views of sources that change while they are mounted.
  @Suite struct ChangedViewTests {
    private static let tensor = SafetensorsFile.Tensor("w", "BF16", [3_000_000])
    private static let paths = [".npy/w.npy", ".f32/w", ".safetensors/w.safetensors"]

    @Test(
      "Once the source is truncated or replaced, reads of every view fail with EIO",
      arguments: [0, 1, 1 << 22])
    func truncated(size: Int64) async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile(Self.tensor))
      let other = try directory.write(
        "o.safetensors", SafetensorsFile(.init("o", "F16", [4], data: [0, 0x3C] + [0, 0, 0, 0, 0, 0])))
      try await withMount(source, other) { mount in
        let files = try Self.paths.map { try OpenFile(mount.file($0)) }
        for file in files { #expect(try file.bytes(100, at: 0).count == 100) }
        let writer = try FileDescriptor.open(source, .writeOnly)
        try writer.closeAfter { try writer.resize(to: size) }
        for (file, path) in zip(files, Self.paths) {
          #expect(throws: Errno.ioError, "\(path)") { try file.bytes(100_000, at: 3_000_001) }
          let direct = try OpenFile(mount.file(path), OpenFile.direct)
          #expect(throws: Errno.ioError, "\(path)") { try direct.alignedBytes(100, at: 0) }
          #expect(throws: Errno.ioError, "\(path)") { try direct.alignedBytes(4096, at: 5_000_000) }
        }
        #expect(try mount.bytes(".f32/o").prefix(4) == [0, 0, 0x80, 0x3F])
        #expect(mount.daemon.isRunning)
      }
    }

    @Test(
      "Truncating a source during reads of a widened view gives EIO or correct bytes, and no signal")
    func truncatedMeanwhile() async throws {
      let expected = Self.tensor.data.widened
      for round in 0..<12 {
        let directory = try TemporaryDirectory()
        let source = try directory.write("m.safetensors", SafetensorsFile(Self.tensor))
        try await withMount(source) { mount in
          let reading = onThread {
            // Each request takes about a millisecond, so the truncation happens during one of the first rounds.
            try OpenFile(mount.file(".f32/w"), OpenFile.direct).failures(
              expecting: expected, partSize: 1 << 20)
          }
          try await Task.sleep(for: .microseconds(500 * round))
          let writer = try FileDescriptor.open(source, .writeOnly)
          try writer.closeAfter { try writer.resize(to: 1 << 20) }
          #expect(try await reading.value > 0, "round \(round)")
          #expect(mount.daemon.isRunning)
        }
      }
    }
  }
}

extension [UInt8] {
  /// The float32 of each BF16 element: two bytes of zero, then the element's bytes.
  fileprivate var widened: [UInt8] {
    var wide = [UInt8](repeating: 0, count: 2 * count)
    for index in indices { wide[index / 2 * 4 + 2 + index % 2] = self[index] }
    return wide
  }
}
