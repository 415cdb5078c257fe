import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Distributed checkpoints (DCP), mounted as whole tensors.
  @Suite struct DistributedTests {
    /// A tensor of three dimensions, and its slices: a grid with uneven cuts along each dimension.
    private static let shape = [5, 7, 300]
    private static let whole: [UInt8] = {
      var generator = SeededGenerator(seed: 18)
      return generator.bytes(shape.reduce(1, *))
    }()
    private static let cuts = [[0, 2, 5], [0, 3, 7], [0, 1, 300]]

    private static func boxes() -> [(start: [Int], shape: [Int], data: [UInt8])] {
      var boxes: [(start: [Int], shape: [Int], data: [UInt8])] = []
      for a in 0..<2 {
        for b in 0..<2 {
          for c in 0..<2 {
            let start = [cuts[0][a], cuts[1][b], cuts[2][c]]
            let shape = [cuts[0][a + 1] - start[0], cuts[1][b + 1] - start[1], cuts[2][c + 1] - start[2]]
            var data: [UInt8] = []
            for i in 0..<shape[0] {
              for j in 0..<shape[1] {
                let row = ((start[0] + i) * Self.shape[1] + start[1] + j) * Self.shape[2] + start[2]
                data += whole[row..<row + shape[2]]
              }
            }
            boxes.append((start, shape, data))
          }
        }
      }
      return boxes
    }

    /// Compares reads of all kinds, at odd offsets, with the whole tensor.
    private static func check(_ mount: MountedModel) throws {
      let path = mount.file("w")
      #expect(try Stat(path).size == Int64(whole.count))
      let opened = try OpenFile(path)
      expectSame(try opened.bytes(), whole, "the tensor")
      expectSame(try opened.mapped(whole.count, MAP_SHARED), whole, "mapped")
      let direct = try OpenFile(path, OpenFile.direct)
      var generator = SeededGenerator(seed: 18)
      for _ in 0..<60 {
        let offset = Int.random(in: 0..<whole.count, using: &generator)
        let count = Int.random(in: 1...(generator.oneIn(3) ? 5000 : 30), using: &generator)
        let part = whole.dropFirst(offset).prefix(count)
        expectSame(try opened.bytes(count, at: offset), part, "\(count) at \(offset)")
        expectSame(try direct.alignedBytes(count, at: offset), part, "\(count) at \(offset), direct")
      }
      // NumPy's header for this shape has 128 bytes.
      expectSame(try mount.bytes(".npy/w.npy").dropFirst(128).map(\.self), whole, "the view")
      expectSame(
        try mount.bytes(".model.safetensors").suffix(whole.count).map(\.self), whole, "the model as a file")
      #expect(try mount.bytes("replicated") == [7, 8])
      let document = String(decoding: try mount.bytes("metadata.json"), as: UTF8.self)
      #expect(document.contains("\"pieces\""))
    }

    @Test("Slices in the Hugging Face layout are whole tensors, by every kind of read")
    func huggingFace() async throws {
      let directory = try TemporaryDirectory()
      for (number, box) in Self.boxes().enumerated() {
        var tensors = [SafetensorsFile.Tensor("w", "U8", box.shape, data: box.data)]
        var info = #"{"w": {"saved_offsets": \#(box.start)}"#
        if number == 0 {
          tensors.insert(.init("replicated", "U8", [2], data: [7, 8]), at: 0)
          info += #", "replicated": {"saved_offsets": [0]}"#
        }
        try directory.write(
          "shard-0000\(number + 1)-model-00001-of-00001.safetensors",
          SafetensorsFile(
            tensors, metadata: ["DCP_SHARDING_INFO": info + "}", "DCP_VERSION": "1.0", "format": "pt"]))
      }
      try await withMount(directory.path) { try Self.check($0) }
      // A mount of only one file shows slices, and the command warns.
      let one = directory.path.appending("shard-00002-model-00001-of-00001.safetensors")
      try directory.makeDirectory("mnt")
      let mountPoint = directory.path.appending("mnt")
      let outcome = try await Command.stmount(["\(one)", "\(mountPoint)"])
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      #expect(outcome.status == 0 && outcome.error.contains("name the directory to see them whole"))
      expectSame(try OpenFile(mountPoint.appending("w")).bytes(), Self.boxes()[1].data, "a slice")
      try await Command.output(of: "umount", "\(mountPoint)")
    }

    @Test("Slices in .metadata and .distcp files of several ranks are whole tensors, by every kind of read")
    func classic() async throws {
      let directory = try TemporaryDirectory()
      let slices = Self.boxes().enumerated().map { number, box in
        DistributedCheckpoint.Chunk(
          start: box.start, shape: box.shape, data: box.data, file: "__\(number % 3)_0.distcp")
      }
      let replicated = DistributedCheckpoint.Chunk(
        "replicated", start: [0], shape: [2], data: [7, 8], file: "__2_0.distcp")
      try DistributedCheckpoint(slices + [replicated], shapes: ["w": Self.shape, "replicated": [2]])
        .write(to: directory)
      try await withMount(directory.path) { try Self.check($0) }
    }

    @Test(
      "Once a file with a slice has changed, reads of whole tensors fail with EIO", arguments: [false, true])
    func changed(isClassic: Bool) async throws {
      let directory = try TemporaryDirectory()
      var files: [FilePath] = []
      if isClassic {
        let slices = (0..<2).map {
          DistributedCheckpoint.Chunk(start: [$0], shape: [1], data: [UInt8($0)], file: "__\($0)_0.distcp")
        }
        try DistributedCheckpoint(slices, shapes: ["w": [2]]).write(to: directory)
        files = (0..<2).map { directory.path.appending("__\($0)_0.distcp") }
      } else {
        for number in 0..<2 {
          let info = #"{"w": {"saved_offsets": [\#(number)]}}"#
          files.append(
            try directory.write(
              "shard-0000\(number + 1)-model-00001-of-00001.safetensors",
              SafetensorsFile(
                [.init("w", "U8", [1], data: [UInt8(number)])], metadata: ["DCP_SHARDING_INFO": info])))
        }
      }
      try await withMount(directory.path) { mount in
        let bytes = try OpenFile(files[1]).bytes()
        try directory.write("\(files[1].lastComponent?.string ?? "")", bytes + [0])
        _ = #expect(throws: Errno.ioError) { try mount.bytes("w") }
      }
    }
  }
}
