import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// metadata.json, which maps names to files.
  @Suite struct DocumentTests {
    @Test("Every tensor is listed, its path opens, and its offset is the place of its bytes in the source")
    func tensors() async throws {
      let names = [
        "w", "a/b", "a/b/c", "x%y", "nul\0", "", "metadata.json", ".npy/w", "caf\u{E9}", "cafe\u{301}",
      ]
      var tensors = names.map { SafetensorsFile.Tensor($0, "I16", [2, 3]) }
      tensors.append(.init(String(repeating: "é", count: 150), "BF16", [5]))
      tensors.append(.init("scalar", "F32", []))
      tensors.append(.init("empty", "U8", [4, 0]))
      tensors.append(.init("\"\\\u{1B}[31m\u{202E}\u{2028}🦀", "F4", [2, 2]))
      let file = SafetensorsFile(tensors, dataOrder: Array(tensors.indices.reversed()), padding: 1)
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", file)
      let sourceBytes = try OpenFile(source).bytes()

      try await withMount(source) { mount in
        let entries = try await DocumentEntry.all(in: mount.file("metadata.json"))
        #expect(entries.count == tensors.count)
        for tensor in tensors {
          let entry = try #require(entries.first { $0.name == tensor.name }, "\(tensor.name) is not listed")
          #expect(entry.dtype == tensor.dtype)
          #expect(entry.shape == tensor.shape)
          #expect(entry.byteCount == tensor.data.count)
          #expect(entry.source == "m.safetensors")
          let end = entry.offset + entry.byteCount
          expectSame(Array(sourceBytes[entry.offset..<end]), tensor.data, "the source at \(entry.offset)")
          let mounted = try OpenFile(mount.path.appending(entry.path.components)).bytes()
          expectSame(mounted, tensor.data, "\(entry.path)")
        }
        #expect(Set(entries.map(\.path)).count == entries.count)
      }
    }

    @Test("The document has format, source, metadata and total size, and ends in a newline")
    func model() async throws {
      let file = SafetensorsFile(
        [.init("w", "F32", [10]), .init("b", "F32", [2])],
        metadata: ["format": "pt", "quote": "\"\\", "nul": "\0", "json": "{\"a\": 1}", "café": "重み"])
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", file)
      try setTimes(of: source, access: (1_700_000_001, 5), modification: (1_600_000_000, 123_456_789))
      try await withMount(source) { mount in
        let document = mount.file("metadata.json")
        func jq(_ program: String) async throws -> String {
          try await Command.output(of: "jq", "-S", "-c", program, "\(document)")
        }
        #expect(try await jq("keys") == #"["format","metadata","sources","tensors","total_size"]"#)
        #expect(try await jq(".format") == #""safetensors""#)
        #expect(try await jq(".total_size") == "48")
        #expect(
          try await jq(".metadata")
            == ##"{"café":"重み","format":"pt","json":"{\"a\": 1}","nul":"\u0000","quote":"\"\\"}"##)
        #expect(try await jq("[.sources[] | .name, .size]") == #"["m.safetensors",\#(file.bytes.count)]"#)
        let text = String(decoding: try mount.bytes("metadata.json"), as: UTF8.self)
        // jq's numbers have too few digits for these values.
        #expect(text.contains("\"mtime\": 1600000000.123456789"))
        #expect(text.hasSuffix("}\n") && !text.hasSuffix("\n\n"))
        #expect(try Stat(document).size == Int64(text.utf8.count))
      }
    }

    @Test("A model without __metadata__ has empty metadata")
    func noMetadata() async throws {
      let directory = try TemporaryDirectory()
      try await withMount(try directory.write("m.safetensors", SafetensorsFile(.init("w", "U8", [1])))) {
        mount in
        let metadata = try await Command.output(of: "jq", "-c", ".metadata", "\(mount.file("metadata.json"))")
        #expect(metadata == "{}")
      }
    }

    @Test("In a set each source has its own metadata, and each tensor names its source")
    func severalSources() async throws {
      let directory = try TemporaryDirectory()
      let one = SafetensorsFile([.init("a", "U8", [5])], metadata: ["part": "1"])
      let two = SafetensorsFile([.init("b", "U8", [6]), .init("c", "U8", [7])], metadata: ["part": "2"])
      let first = try directory.write("one.safetensors", one)
      let second = try directory.write("two.safetensors", two)
      try await withMount(first, second) { mount in
        let document = mount.file("metadata.json")
        #expect(
          try await Command.output(of: "jq", "-c", "-S", ".metadata", "\(document)")
            == #"{"one.safetensors":{"part":"1"},"two.safetensors":{"part":"2"}}"#)
        #expect(
          try await Command.output(of: "jq", "-c", "[.sources[] | .name, .size], .total_size", "\(document)")
            == "[\"one.safetensors\",\(one.bytes.count),\"two.safetensors\",\(two.bytes.count)]\n18")
        let sources = ["one.safetensors": one.bytes, "two.safetensors": two.bytes]
        let entries = try await DocumentEntry.all(in: document)
        #expect(entries.map(\.source) == ["one.safetensors", "two.safetensors", "two.safetensors"])
        for entry in entries {
          let source = try #require(sources[entry.source])
          let expected = source[entry.offset..<entry.offset + entry.byteCount]
          expectSame(
            try OpenFile(mount.path.appending(entry.path.components)).bytes(), expected, "\(entry.path)")
        }
      }
    }

    @Test("Sources with the same file name are distinguished by their paths")
    func sameFileNames() async throws {
      let directory = try TemporaryDirectory()
      let first = try directory.write("1/m.safetensors", SafetensorsFile(.init("a", "U8", [5])))
      let second = try directory.write("2/m.safetensors", SafetensorsFile(.init("b", "U8", [6])))
      try await withMount(first, second) { mount in
        let entries = try await DocumentEntry.all(in: mount.file("metadata.json"))
        #expect(entries.map(\.source) == ["\(first)", "\(second)"])
      }
    }
  }
}
