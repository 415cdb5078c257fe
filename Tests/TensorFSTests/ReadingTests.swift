import Fixtures
import Logging
import SystemPackage
import Testing

@testable import FUSE
import Linux
@testable import Models
import Safetensors
@testable import TensorFiles
@testable import TensorFS

@Suite("Reads, without a kernel") struct ReadingTests {
  private func fileSystem(_ sample: SampleModel) throws -> TensorFileSystem {
    try TensorFileSystem(sample.collection, options: MountOptions(), log: Logger(label: "test"))
  }

  private func inode(_ path: String, in fileSystem: TensorFileSystem) throws -> Attributes {
    var attributes = try fileSystem.attributes(of: .root)
    for component in path.split(separator: "/") {
      attributes = try #require(
        try fileSystem.lookup(Array(component.utf8).span, in: attributes.inode), "\(path)")
    }
    return attributes
  }

  /// The bytes of an answer, as the session sends them.
  private func bytes(of answer: ReadAnswer) throws -> [UInt8] {
    switch answer {
    case .bytes(let bytes): return Array(bytes)
    case .source(let source, let range):
      return try [UInt8](filling: range.count) { target throws(Errno) in
        _ = try source.read(from: range.lowerBound, into: &target)
      }
    case .computed(let count, _, _, let fill):
      return try [UInt8](filling: count) { target throws(Errno) in try fill(&target) }
    }
  }

  @Test(
    "Any part of any file equals that part of the whole, and reads end at the file's end",
    arguments: 0..<4 as Range<UInt64>)
  func windows(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let file = SafetensorsFile(
      [
        .init("a/b", "F32", [20, 3]), .init("h", "BF16", [77]), .init("f8", "F8_E4M3", [501]),
        .init("empty", "I8", [0]),
      ],
      metadata: ["format": "pt"])
    let fileSystem = try fileSystem(SampleModel(file))
    let paths = [
      "a/b", "h", "f8", "empty", "metadata.json", ".npy/h.npy", ".npy/a/b.npy", ".f32/h", ".f32/f8",
      ".safetensors/f8.safetensors", ".safetensors/empty.safetensors", ".model.safetensors",
    ]
    for path in paths {
      let attributes = try inode(path, in: fileSystem)
      let size = Int(attributes.size)
      let whole = try bytes(of: fileSystem.read(attributes.inode, at: 0, count: size + 1))
      #expect(whole.count == size, "\(path)")
      for _ in 0..<40 {
        let offset = Int.random(in: 0...size + 5, using: &generator)
        let count = Int.random(in: 0...size + 5, using: &generator)
        let answer = try fileSystem.read(attributes.inode, at: UInt64(offset), count: count)
        #expect(try bytes(of: answer) == Array(whole.dropFirst(offset).prefix(count)), "\(path)")
      }
    }
  }

  @Test("A tensor's bytes are sent from the source unmodified, even after a view's header")
  func sources() throws {
    let sample = try SampleModel(SafetensorsFile(.init("t", "F32", [1000])))
    let fileSystem = try fileSystem(sample)
    let start = try sample.model.shards[0].header.dataStart
    func range(_ path: String, _ offset: UInt64, _ count: Int) throws -> Range<UInt64>? {
      guard
        case .source(_, let range) = try fileSystem.read(
          inode(path, in: fileSystem).inode, at: offset, count: count)
      else { return nil }
      return range
    }
    #expect(try range("t", 0, 4000) == start..<start + 4000)
    #expect(try range(".f32/t", 8, 8) == start + 8..<start + 16)
    #expect(try range(".npy/t.npy", 128, 4000) == start..<start + 4000)
    #expect(try range(".npy/t.npy", 127, 4000) == nil)
  }

  @Test(
    "A read of an assembled tensor takes time that does not depend on the number of slices",
    arguments: ["w", ".npy/w.npy"], [false, true])
  func slices(path: String, areColumns: Bool) throws {
    let files = try [250, 500, 1000].map { count in
      let directory = try TemporaryDirectory()
      let chunks = (0..<count).map { number in
        DistributedCheckpoint.Chunk(
          start: areColumns ? [0, number] : [number, 0], shape: areColumns ? [4, 1] : [1, 4],
          data: (0..<4).map { UInt8(truncatingIfNeeded: areColumns ? $0 * count + number : number * 4 + $0) })
      }
      try DistributedCheckpoint(chunks, shapes: ["w": areColumns ? [4, count] : [count, 4]])
        .write(to: directory)
      let fileSystem = try TensorFileSystem(
        ModelCollection(opening: [directory.path]), options: MountOptions(), log: Logger(label: "test"))
      return (directory, fileSystem, try inode(path, in: fileSystem))
    }
    // Each slice gets one read, so the total work must be proportional to the number of slices.
    let costs = try Costs(from: 250) { count in
      let (_, fileSystem, attributes) = files[count / 500]
      let start = attributes.size - UInt64(4 * count)
      for number in 0..<count {
        let answer = try fileSystem.read(attributes.inode, at: start + UInt64(4 * number), count: 4)
        let expected = (4 * number..<4 * number + 4).map { UInt8(truncatingIfNeeded: $0) }
        #expect(try bytes(of: answer) == expected)
      }
    }
    #expect(costs.areProportional, "\(costs)")
  }

  @Test("A directory cannot be read")
  func directories() throws {
    let fileSystem = try fileSystem(SampleModel(SafetensorsFile(.init("a/b", "U8", [1]))))
    for path in ["", "a", ".npy", ".npy/a"] {
      let inode = try inode(path, in: fileSystem).inode
      #expect(throws: Errno.isDirectory) { try fileSystem.read(inode, at: 0, count: 1) }
    }
  }
}
