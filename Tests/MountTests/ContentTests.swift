import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The bytes of the files, through every system call that reads.
  @Suite struct ContentTests {
    private static let pageSize = 4096

    /// One tensor of many pages that begins at an odd offset of the file and ends in the middle of a page.
    private static let large = SafetensorsFile.Tensor("large", "U8", [3 * pageSize * 64 + 1001])
    private static let source = SafetensorsFile(
      [.init("before", "U8", [5]), large, .init("after", "U8", [pageSize])], padding: 3)

    private func withLarge(_ body: (MountedModel, FilePath) throws -> Void) async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", Self.source)
      try await withMount(source) { try body($0, $0.file("large")) }
    }

    @Test("A tensor of every dtype reads as its bytes in the source")
    func dtypes() async throws {
      let tensors = TensorData.bitSizes.map { SafetensorsFile.Tensor($0.key, $0.key, [3, 8]) }
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile(tensors))
      try await withMount(source) { mount in
        for tensor in tensors { expectSame(try mount.bytes(tensor.dtype), tensor.data, tensor.dtype) }
      }
    }

    @Test("A scalar has the bytes of one element, and a tensor without elements none")
    func scalarAndEmpty() async throws {
      let scalar = SafetensorsFile.Tensor("scalar", "F64", [])
      let file = SafetensorsFile(scalar, .init("empty", "F32", [0, 7]), .init("last", "U8", [0]))
      let directory = try TemporaryDirectory()
      try await withMount(try directory.write("m.safetensors", file)) { mount in
        expectSame(try mount.bytes("scalar"), scalar.data, "the scalar")
        #expect(scalar.data.count == 8)
        for name in ["empty", "last"] {
          let status = try Stat(mount.file(name))
          #expect(status.size == 0)
          #expect(try mount.bytes(name).isEmpty)
          #expect(try OpenFile(mount.file(name)).bytes(100, at: 0).isEmpty)
        }
      }
    }

    @Test("A model without tensors mounts, with only metadata.json")
    func noTensors() async throws {
      let directory = try TemporaryDirectory()
      try await withMount(try directory.write("m.safetensors", SafetensorsFile())) { mount in
        try expectTree(mount.path, [:])
        #expect(
          try await Command.output(of: "jq", "-c", ".tensors", "\(mount.file("metadata.json"))") == "{}")
      }
    }

    @Test(
      "Reading from the start gives every byte, in steps of any size",
      arguments: [1, 7, 4096, 100_000, 1 << 20])
    func sequentialRead(step: Int) async throws {
      try await withLarge { mount, large in
        let name = step == 1 ? "before" : "large"
        let expected = step == 1 ? Self.source.tensors[0].data : Self.large.data
        expectSame(try OpenFile(mount.file(name)).bytes(step: step), expected, "\(name) by \(step)")
      }
    }

    @Test(
      "pread at any offset and of any size returns the bytes up to the end",
      arguments: [1, 2] as [UInt64])
    func randomRead(seed: UInt64) async throws {
      var generator = SeededGenerator(seed: seed)
      try await withLarge { _, path in
        let file = try OpenFile(path)
        let size = Self.large.data.count
        for _ in 0..<300 {
          // Prefers small offsets, the end of the file and page boundaries to other offsets.
          let anchor =
            [0, size, Int.random(in: 0...size, using: &generator) / Self.pageSize * Self.pageSize]
            .randomElement(using: &generator) ?? 0
          let offset = max(0, anchor + Int.random(in: -5000...5000, using: &generator))
          let count = Int.random(in: 0...20_000, using: &generator)
          let expected = Self.large.data.dropFirst(offset).prefix(count)
          expectSame(try file.bytes(count, at: offset), expected, "seed \(seed): \(count) bytes at \(offset)")
        }
      }
    }

    @Test("Reading at or beyond the end returns no bytes and no error")
    func pastTheEnd() async throws {
      try await withLarge { _, path in
        let file = try OpenFile(path)
        let size = Self.large.data.count
        #expect(try file.bytes(1, at: size - 1) == [Self.large.data[size - 1]])
        #expect(try file.bytes(2, at: size - 1) == [Self.large.data[size - 1]])
        for offset in [size, size + 1, size + 4096, 1 << 40, Int.max - 4096] {
          #expect(try file.bytes(100, at: offset).isEmpty)
        }
      }
    }

    @Test(
      "A mapping shows the tensor, and zeros up to the end of its last page",
      arguments: [MAP_SHARED, MAP_PRIVATE])
    func mapping(flags: CInt) async throws {
      try await withLarge { _, path in
        let size = Self.large.data.count
        let wholePages = (size + Self.pageSize - 1) / Self.pageSize * Self.pageSize
        let mapped = try OpenFile(path).mapped(wholePages, flags)
        expectSame(Array(mapped[..<size]), Self.large.data, "the mapping")
        expectSame(
          Array(mapped[size...]), Array(repeating: 0, count: wholePages - size), "the rest of the page")
      }
    }

    @Test("sendfile sends the tensor's bytes, from any offset")
    func sendFile() async throws {
      try await withLarge { _, path in
        let file = try OpenFile(path)
        let size = Self.large.data.count
        expectSame(try file.sent(size, from: 0), Self.large.data, "all")
        expectSame(try file.sent(10_000, from: 4095), Self.large.data[4095..<14_095], "the middle")
        expectSame(try file.sent(5000, from: size - 3), Self.large.data.suffix(3), "the end")
        #expect(try file.sent(5000, from: size).isEmpty)
      }
    }

    @Test("splice moves the tensor's bytes into a pipe, from any offset")
    func splice() async throws {
      try await withLarge { _, path in
        let file = try OpenFile(path)
        for offset in [0, 1, 4095, Self.large.data.count - 3, Self.large.data.count] {
          let expected = Self.large.data.dropFirst(offset).prefix(5000)
          expectSame(try file.spliced(5000, from: offset), expected, "at \(offset)")
        }
      }
    }

    @Test("O_DIRECT returns the same bytes, at any offset of the tensor in the source")
    func directRead() async throws {
      try await withLarge { mount, path in
        let file = try OpenFile(path, OpenFile.direct)
        let size = Self.large.data.count
        for (offset, count) in [(0, 4096), (4096, 1 << 20), (size / 4096 * 4096, 4096), (8192, 512)] {
          let expected = Self.large.data.dropFirst(offset).prefix(count)
          expectSame(try file.alignedBytes(count, at: offset), expected, "\(count) bytes at \(offset)")
        }
        #expect(try file.alignedBytes(4096, at: (size / 4096 + 1) * 4096).isEmpty)
        let document = try OpenFile(mount.file("metadata.json"), OpenFile.direct).alignedBytes(1 << 16, at: 0)
        #expect(try document == mount.bytes("metadata.json"))
      }
    }

    @Test("A file has no holes: data from everywhere to the end, and ENXIO from there on")
    func dataAndHoles() async throws {
      try await withLarge { _, path in
        let file = try OpenFile(path)
        let size = Int64(Self.large.data.count)
        for offset in [0, 1, 4096, size - 1] as [Int64] {
          #expect(try file.seek(offset, .nextData) == offset)
          #expect(try file.seek(offset, .nextHole) == size)
        }
        for offset in [size, size + 1, 1 << 40] as [Int64] {
          #expect(throws: Errno.noSuchAddressOrDevice) { try file.seek(offset, .nextData) }
          #expect(throws: Errno.noSuchAddressOrDevice) { try file.seek(offset, .nextHole) }
        }
      }
    }

    @Test("A tensor of more than 4 GiB has correct bytes on both sides of every 32-bit boundary")
    func beyond32Bits() async throws {
      let size = 5 << 30
      let header = Array(
        """
        {"big":{"dtype":"U8","shape":[\(size)],"data_offsets":[0,\(size)]},\
        "next":{"dtype":"U8","shape":[3],"data_offsets":[\(size),\(size + 3)]}}
        """.utf8)
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile(header: header))
      let writer = try FileDescriptor.open(source, .writeOnly, options: .closeOnExec)
      try writer.closeAfter {
        // The file is sparse: the test writes only the bytes that it reads.
        let start = Int64(8 + header.count)
        try writer.resize(to: start + Int64(size) + 3)
        for border in [1 << 31, 1 << 32, size] {
          try writer.writeAll(toAbsoluteOffset: start + Int64(border) - 3, [1, 2, 3, 4, 5, 6])
        }
      }
      try await withMount(source) { mount in
        let file = try OpenFile(mount.file("big"))
        #expect(try Stat(mount.file("big")).size == Int64(size))
        for border in [1 << 31, 1 << 32] {
          #expect(try file.bytes(8, at: border - 4) == [0, 1, 2, 3, 4, 5, 6, 0])
        }
        #expect(try file.bytes(8, at: size - 4) == [0, 1, 2, 3])
        #expect(try mount.bytes("next") == [4, 5, 6])
      }
    }
  }
}
