import Fixtures
import SystemPackage
import Testing

@testable import Models
@testable import Safetensors
@testable import TensorFiles

@Suite("metadata.json") struct MetadataDocumentTests {
  private func text(_ sample: SampleModel) throws -> String {
    String(decoding: MetadataDocument.bytes(of: try sample.model), as: UTF8.self)
  }

  /// The sample's files with a fixed time, opened again.
  private func document(_ files: [(name: String, file: SafetensorsFile)]) throws -> String {
    let sample = try SampleModel(files)
    let paths = files.map { sample.directory.path.appending($0.name) }
    for path in paths { try path.setTimes(access: (0, 0), modification: (1_700_000_000, 123_456)) }
    let model = try #require(ModelCollection(opening: paths).components.first?.model)
    return String(decoding: MetadataDocument.bytes(of: model), as: UTF8.self)
  }

  @Test("The document of a small model has the expected text")
  func golden() throws {
    let file = SafetensorsFile(
      [.init("b/w", "BF16", [2, 3]), .init("a", "F32", []), .init("b", "U8", [0, 7])],
      metadata: ["format": "pt", "a \"b\"": "line\nend"])
    #expect(
      try document([("model.safetensors", file)]) == #"""
        {
          "format": "safetensors",
          "sources": [
            {"name": "model.safetensors", "size": \#(file.bytes.count), "mtime": 1700000000.000123456}
          ],
          "metadata": {"a \"b\"": "line\u000aend", "format": "pt"},
          "total_size": 16,
          "tensors": {
            "a": {"path": "a", "dtype": "F32", "shape": [], "nbytes": 4, "source": "model.safetensors", "offset": \#(file.dataStart + 12)},
            "b": {"path": "b", "dtype": "U8", "shape": [0, 7], "nbytes": 0, "source": "model.safetensors", "offset": \#(file.dataStart + 16)},
            "b/w": {"path": "b%2Fw", "dtype": "BF16", "shape": [2, 3], "nbytes": 12, "source": "model.safetensors", "offset": \#(file.dataStart)}
          }
        }

        """#)
  }

  @Test("The document lists each source with its size, time and metadata, and all tensors sorted by name")
  func several() throws {
    let one = SafetensorsFile([.init("z", "I8", [3])], metadata: ["k": "1"])
    let two = SafetensorsFile([.init("y", "I64", [1])])
    #expect(
      try document([("1.safetensors", one), ("2.safetensors", two)]) == """
        {
          "format": "safetensors",
          "sources": [
            {"name": "1.safetensors", "size": \(one.bytes.count), "mtime": 1700000000.000123456},
            {"name": "2.safetensors", "size": \(two.bytes.count), "mtime": 1700000000.000123456}
          ],
          "metadata": {
            "1.safetensors": {"k": "1"},
            "2.safetensors": {}
          },
          "total_size": 11,
          "tensors": {
            "y": {"path": "y", "dtype": "I64", "shape": [1], "nbytes": 8, "source": "2.safetensors", "offset": \(two.dataStart)},
            "z": {"path": "z", "dtype": "I8", "shape": [3], "nbytes": 3, "source": "1.safetensors", "offset": \(one.dataStart)}
          }
        }

        """)
  }

  @Test("A model without tensors has a document too")
  func empty() throws {
    let text = try text(SampleModel(SafetensorsFile()))
    #expect(text.hasSuffix("  \"metadata\": {},\n  \"total_size\": 0,\n  \"tensors\": {}\n}\n"))
    #expect(try JSONValue(parsing: text.utf8)["tensors"] == .object([]))
  }

  @Test("Every field agrees with the file and the tree")
  func fields() throws {
    var generator = SeededGenerator(seed: 3)
    let dtypes = TensorData.bitSizes.filter { $0.value >= 8 }.map(\.key)
    let tensors = HostileNames.names(seed: 5).map { name in
      let shape = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
        Int.random(in: 0...3, using: &generator)
      }
      return SafetensorsFile.Tensor(name: name, dtypes.randomElement(using: &generator) ?? "U8", shape)
    }
    let file = SafetensorsFile(
      tensors, metadata: ["": "", "k\u{202E}": "\u{1B}", "😀": "\u{10FFFF}"],
      dataOrder: Array(tensors.indices.reversed()))
    let sample = try SampleModel(file)
    let tree = try sample.tree
    let model = try sample.model
    let text = MetadataDocument.bytes(of: model)
    #expect(text.last == UInt8(ascii: "\n"))
    let document = try JSONValue(parsing: text)
    let fields = ["format", "sources", "metadata", "total_size", "tensors"]
    #expect(document.entries.map { String(decoding: $0.key, as: UTF8.self) } == fields)
    #expect(document["format"] == .string(Array("safetensors".utf8)))
    #expect(document["total_size"]?.integer == tensors.reduce(0) { $0 + $1.data.count })
    let expectedMetadata = file.metadata?.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } ?? []
    #expect(
      document["metadata"]
        == .object(
          expectedMetadata.map { .init(key: Array($0.key.utf8), value: .string(Array($0.value.utf8))) }))

    let entries = try #require(document["tensors"]).entries
    #expect(entries.map(\.key) == tensors.map(\.name).sorted { $0.lexicographicallyPrecedes($1) })
    for (tensor, range) in zip(tensors, file.dataRanges) {
      let entry = try #require(document["tensors"]?[bytes: tensor.name])
      #expect(entry["dtype"]?.stringBytes == Array(tensor.dtype.utf8))
      #expect(entry["shape"]?.elements.map(\.integer) == tensor.shape)
      #expect(entry["nbytes"]?.integer == tensor.data.count)
      #expect(entry["source"]?.stringBytes == Array("model.safetensors".utf8))
      #expect(entry["offset"]?.integer == file.dataStart + range.lowerBound)
      #expect(entry.entries.count == 6)
      let path = try #require(entry["path"]?.stringBytes)
      let node = tree.nodes[try #require(tree.position(of: path))]
      #expect(Array(model.name(at: model.places[Int(node.first)]).utf8) == tensor.name)
    }
  }

  @Test("Dimensions beyond 2^53 keep all their digits")
  func largeNumbers() throws {
    let header = #"{"x":{"dtype":"U8","shape":[18446744073709551615,0],"data_offsets":[0,0]}}"#
    #expect(
      try text(SampleModel(SafetensorsFile(header: header))).contains("\"shape\": [18446744073709551615, 0]"))
  }

  @Test(
    "Times are exact to the nanosecond, also before 1970",
    arguments: [
      (0, 0, "0.000000000"), (1, 1, "1.000000001"), (1_700_000_000, 999_999_999, "1700000000.999999999"),
      (-1, 0, "-1.000000000"), (-1, 500_000_000, "-0.500000000"), (-2, 1, "-1.999999999"),
      (-1, 999_999_999, "-0.000000001"),
    ])
  func times(seconds: Int, nanoseconds: Int, expected: String) {
    #expect(MetadataDocument.seconds(seconds, nanoseconds) == expected)
  }

  @Test("A source's name is escaped like other text")
  func sourceName() throws {
    let name = "a\"\u{1B}\u{202E}.safetensors"
    let sample = try SampleModel([(name, SafetensorsFile(.init("x", "U8", [1])))])
    let text = try text(sample)
    #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || (0x20..<0x7F).contains($0.value) })
    let document = try JSONValue(parsing: text.utf8)
    #expect(document["sources"]?.elements.first?["name"]?.stringBytes == Array(name.utf8))
    #expect(document["tensors"]?["x"]?["source"]?.stringBytes == Array(name.utf8))
  }
}
