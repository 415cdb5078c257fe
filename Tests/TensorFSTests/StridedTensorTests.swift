import Fixtures
import Logging
import SystemPackage
import Testing

@testable import FUSE
@testable import Linux
@testable import Models
import Safetensors
@testable import TensorFiles
@testable import TensorFS

@Suite("Metadata of PyTorch tensors") struct StridedTensorTests {
  private static var file: TorchFile {
    var file = TorchFile()
    let storage = file.addStorage("BFloat16", count: 6)
    file.object = .ordered([
      "t": file.view(of: storage, offset: 1, [2, 2], strides: [1, 2]), "w": file.view(of: storage, [2, 3]),
    ])
    return file
  }

  @Test("metadata.json has the format, and the origin and strides of a tensor that is not contiguous")
  func document() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("m.pt", Self.file)
    let model = try ModelCollection(opening: [path]).components[0].model
    let text = String(decoding: MetadataDocument.bytes(of: model), as: UTF8.self)
    let start = Self.file.offset(of: 0)
    #expect(text.hasPrefix("{\n  \"format\": \"pytorch\",\n"))
    #expect(text.contains(#""metadata": {}"#))
    #expect(
      text.hasSuffix(
        #"""
          "total_size": 20,
          "tensors": {
            "t": {"path": "t", "dtype": "BF16", "shape": [2, 2], "nbytes": 8, "source": "m.pt", "strides": [1, 2], "origin": \#(start + 2)},
            "w": {"path": "w", "dtype": "BF16", "shape": [2, 3], "nbytes": 12, "source": "m.pt", "offset": \#(start)}
          }
        }

        """#), "\(text)")

    let other = try directory.write("a.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let mixed = try ModelCollection(opening: [path, other]).components[0].model
    #expect(
      String(decoding: MetadataDocument.bytes(of: mixed), as: UTF8.self)
        .hasPrefix("{\n  \"format\": \"pytorch, safetensors\",\n"))
  }

  @Test("Extended attributes include origin and strides")
  func attributes() throws {
    let directory = try TemporaryDirectory()
    let collection = try ModelCollection(opening: [try directory.write("m.pt", Self.file)])
    let fileSystem = try TensorFileSystem(collection, options: MountOptions(), log: Logger(label: "test"))
    func attributes(_ name: String) throws -> [String: String] {
      let inode = try #require(try fileSystem.lookup(Array(name.utf8).span, in: .root)).inode
      var found: [String: String] = [:]
      for name in try fileSystem.extendedAttributeNames(of: inode) {
        found[String(decoding: name.dropFirst("user.safetensors.".utf8.count), as: UTF8.self)] =
          String(decoding: try fileSystem.extendedAttribute(name, of: inode), as: UTF8.self)
      }
      return found
    }
    let start = Self.file.offset(of: 0)
    #expect(
      try attributes("w")
        == ["name": "w", "dtype": "BF16", "shape": "[2, 3]", "source": "m.pt", "offset": "\(start)"])
    #expect(
      try attributes("t") == [
        "name": "t", "dtype": "BF16", "shape": "[2, 2]", "source": "m.pt", "strides": "[1, 2]",
        "origin": "\(start + 2)",
      ])
    let inode = try #require(try fileSystem.lookup(Array("t".utf8).span, in: .root)).inode
    #expect(throws: Errno.noData) {
      try fileSystem.extendedAttribute(Array("user.safetensors.offset".utf8), of: inode)
    }
  }

  @Test("A total size that overflows becomes the largest number")
  func total() throws {
    var file = TorchFile()
    let storage = file.addStorage("Byte", count: 1)
    file.object = .list(Array(repeating: file.view(of: storage, [1 << 62], strides: [0]), count: 9))
    let directory = try TemporaryDirectory()
    let collection = try ModelCollection(opening: [try directory.write("m.pt", file)])
    #expect(collection.components[0].model.totalSize == .max)
    let fileSystem = try TensorFileSystem(collection, options: MountOptions(), log: Logger(label: "test"))
    #expect(fileSystem.statistics().size == .max)
  }
}
