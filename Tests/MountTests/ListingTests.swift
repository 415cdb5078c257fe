import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// Directory streams.
  @Suite struct ListingTests {
    private func withNumberedFiles(_ count: Int, _ body: (MountedModel) throws -> Void) async throws {
      let tensors = (0..<count).map { SafetensorsFile.Tensor("dir/tensor.number.\($0)", "U8", [1]) }
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile(tensors))
      try await withMount(source) { try body($0) }
    }

    @Test("A listing of 5,000 files is complete, has no duplicates, and its inode numbers are those of stat")
    func manyFiles() async throws {
      try await withNumberedFiles(5000) { mount in
        let entries = try Listing(mount.file("dir")).rest()
        let expected = (0..<5000).map { FilePath("tensor.number.\($0)") }
        expectSamePaths(entries.map(\.name), expected + [".", ".."])
        #expect(Set(entries.map(\.inode)).count == entries.count)
        for entry in entries.striding(by: 97) {
          let status = try Stat(
            mount.file("dir").appending(entry.name.components), followTargetSymlink: false)
          #expect(UInt64(status.inode.rawValue) == entry.inode, "\(entry.name)")
        }
      }
    }

    @Test(
      "seekdir goes back to where telldir was, and rewinddir to the beginning", arguments: [3] as [UInt64])
    func seeking(seed: UInt64) async throws {
      var generator = SeededGenerator(seed: seed)
      try await withNumberedFiles(2000) { mount in
        let listing = try Listing(mount.file("dir"))
        let all = try listing.rest()
        #expect(all.count == 2002)
        #expect(try listing.next() == nil)
        for _ in 0..<100 {
          let index = Int.random(in: 0..<all.count - 1, using: &generator)
          listing.seek(to: all[index].next)
          #expect(try listing.next() == all[index + 1], "seed \(seed)")
        }
        listing.rewind()
        #expect(try listing.rest() == all)
      }
    }

    @Test("Two listings of one directory do not disturb each other")
    func interleaved() async throws {
      try await withNumberedFiles(1000) { mount in
        let first = try Listing(mount.file("dir"))
        let start = try (0..<500).map { _ in try first.next() }
        let other = try Listing(mount.file("dir")).rest()
        let rest = try first.rest()
        #expect(start.compactMap(\.self) + rest == other)
        #expect(other.count == 1002)
      }
    }

    @Test("A listing has . and .. with the numbers that stat gives for them, in the root and below")
    func dots() async throws {
      try await withNumberedFiles(3) { mount in
        let root = try Stat(mount.path)
        let directory = try Stat(mount.file("dir"))
        let below = try Listing(mount.file("dir")).rest()
        #expect(below.first { $0.name == "." }?.inode == UInt64(directory.inode.rawValue))
        #expect(below.first { $0.name == ".." }?.inode == UInt64(root.inode.rawValue))
        #expect(try Listing(mount.path).rest().map(\.name).prefix(2) == [".", ".."])
      }
    }

    @Test("100,000 tensors mount, and ls shows them all")
    func hundredThousand() async throws {
      let count = 100_000
      var header = Array("{".utf8)
      for number in 0..<count {
        let separator = number == 0 ? "" : ","
        header += Array(
          "\(separator)\"t\(number)\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[\(number),\(number + 1)]}"
            .utf8)
      }
      header.append(UInt8(ascii: "}"))
      let data = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile(header: header, data: data))
      try await withMount(source) { mount in
        let names = try await Command.output(of: "ls", "\(mount.path)").split(separator: "\n")
        #expect(names.count == count + 1)
        let expected = (0..<count).map { FilePath("t\($0)") } + ["metadata.json"]
        expectSamePaths(names.map { FilePath(String($0)) }, expected)
        for number in [0, 1, 54_321, count - 1] {
          #expect(try mount.bytes("t\(number)") == [UInt8(truncatingIfNeeded: number)])
        }
      }
    }
  }
}

extension Array {
  /// Every `step`th element.
  fileprivate func striding(by step: Int) -> [Element] {
    stride(from: 0, to: count, by: step).map { self[$0] }
  }
}
