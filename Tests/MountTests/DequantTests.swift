import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// `.dequant/`, the model with dequantised weights.
  @Suite struct DequantTests {
    /// A model with DeepSeek's blocks: the weight is in one shard, and its scales are in another.
    private static func sharded(in directory: TemporaryDirectory) throws -> (
      QuantizedSample, paths: [FilePath]
    ) {
      let sample = try #require(QuantizedSample.all.first)
      let config = try #require(sample.config)
      try directory.write("config.json", text: config)
      let scales = sample.tensors.filter { String(decoding: $0.name, as: UTF8.self).hasSuffix("_scale_inv") }
      let others = sample.tensors.filter { tensor in !scales.contains { $0.name == tensor.name } }
      return (
        sample,
        [
          try directory.write("model-00001-of-00002.safetensors", SafetensorsFile(others)),
          try directory.write("model-00002-of-00002.safetensors", SafetensorsFile(scales)),
        ]
      )
    }

    private static func bytes(_ values: [Float]) -> [UInt8] {
      values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> UInt32(8 * $0)) }
      }
    }

    private static func names(_ path: FilePath) async throws -> [String] {
      try await Command.output(of: "ls", "-A", "\(path)").split(separator: "\n").map(String.init).sorted()
    }

    /// Expects these numbers. A NaN matches every NaN.
    private static func expect(_ bytes: ArraySlice<UInt8>, _ values: [Float]) {
      #expect(bytes.count == values.count * 4)
      let bytes = Array(bytes)
      let wrong = values.indices.first { index in
        guard bytes.count == values.count * 4 else { return true }
        let bits = bytes[4 * index..<4 * index + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return values[index].isNaN ? !Float(bitPattern: bits).isNaN : bits != values[index].bitPattern
      }
      #expect(wrong == nil)
    }

    @Test("A quantised model has a hidden .dequant/ with float32 weights, and without scales")
    func tree() async throws {
      let files = try TemporaryDirectory()
      let (sample, _) = try Self.sharded(in: files)
      let (name, _, values) = sample.expected[0]
      try await withMount(files.path) { mount in
        #expect(try await Self.names(mount.path).contains(".dequant") == false)
        #expect(
          try await Self.names(mount.file(".dequant")) == [
            "metadata.json", "model.layers.0.mlp.up_proj.weight", "model.norm.weight",
          ])
        Self.expect(try mount.bytes(".dequant/\(name)")[...], values)
        Self.expect(try mount.bytes(".dequant/.f32/\(name)")[...], values)
        Self.expect(try mount.bytes(".dequant/.npy/\(name).npy").suffix(values.count * 4), values)
        Self.expect(
          try mount.bytes(".dequant/.safetensors/\(name).safetensors").suffix(values.count * 4), values)
        let whole = try mount.bytes(".dequant/.model.safetensors")
        #expect(whole.count > values.count * 4)
        #expect(try mount.bytes(".dequant/model.norm.weight") == mount.bytes("model.norm.weight"))
        #expect(throws: Errno.noSuchFileOrDirectory) { try Stat(mount.file(".dequant/.dequant")) }
        let direct = try OpenFile(mount.file(".dequant/\(name)"), OpenFile.direct)
        let part = try direct.alignedBytes(5000, at: 4097 * 3)
        #expect(part == Array(try mount.bytes(".dequant/\(name)")[(4097 * 3)..<(4097 * 3 + 5000)]))
        let mapped = try OpenFile(mount.file(".dequant/\(name)")).mapped(values.count * 4, MAP_SHARED)
        Self.expect(mapped[...], values)
        let format = try await Command.output(
          of: "getfattr", "--only-values", "-n", "user.safetensors.quantization",
          "\(mount.file(".dequant/\(name)"))")
        #expect(format == "fp8")
      }
    }

    @Test("A model that is not quantised has no .dequant/")
    func ordinary() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", SafetensorsFile(.init("a", "BF16", [4])))
      try await withMount(path) { mount in
        #expect(throws: Errno.noSuchFileOrDirectory) { try Stat(mount.file(".dequant")) }
      }
    }

    @Test(
      "Every format is shown, and stpack --dequant writes the same as .model.safetensors",
      arguments: QuantizedSample.all.map(\.name))
    func formats(_ name: String) async throws {
      let sample = try #require(QuantizedSample.all.first { $0.name == name })
      let files = try TemporaryDirectory()
      let path = try files.write("model.safetensors", sample.file)
      if let config = sample.config { try files.write("config.json", text: config) }
      let packed = files.path.appending("out.safetensors")
      try await Command.output(of: "\(Machine.stpack)", "--dequant", "\(path)", "-o", "\(packed)")
      try await withMount(path) { mount in
        for (name, _, values) in sample.expected {
          Self.expect(try mount.bytes(".dequant/\(name)")[...], values)
        }
        #expect(try mount.bytes(".dequant/.model.safetensors") == OpenFile(packed).bytes())
      }
    }

    @Test(
      "Once the scales' file changes, the weight fails with EIO too, and the daemon says so once",
      arguments: [0, 1])
    func changed(_ position: Int) async throws {
      let files = try TemporaryDirectory()
      let (sample, paths) = try Self.sharded(in: files)
      try await withMount(files.path) { mount in
        let file = try OpenFile(mount.file(".dequant/\(sample.expected[0].name)"), OpenFile.direct)
        #expect(try file.alignedBytes(100, at: 0).count == 100)
        let writer = try FileDescriptor.open(paths[position], .writeOnly)
        try writer.closeAfter { try writer.resize(to: 8) }
        #expect(throws: Errno.ioError) { try file.alignedBytes(100, at: 0) }
        #expect(throws: Errno.ioError) {
          try OpenFile(mount.file(".dequant/.model.safetensors"), OpenFile.direct).alignedBytes(
            4096, at: 4096)
        }
        #expect(mount.daemon.isRunning)
      }
    }

    @Test("A weight has the intersection of the permissions of its two files")
    func permissions() async throws {
      let files = try TemporaryDirectory()
      let (sample, paths) = try Self.sharded(in: files)
      _ = unsafe chmod("\(paths[0])", 0o644)
      _ = unsafe chmod("\(paths[1])", 0o640)
      try await withMount(files.path) { mount in
        let weight = try Stat(mount.file(".dequant/\(sample.expected[0].name)"))
        let stored = try Stat(mount.file(".dequant/model.norm.weight"))
        #expect(weight.permissions.rawValue == 0o440)
        #expect(stored.permissions.rawValue == 0o444)
      }
    }

    @Test("stls --dequant lists the model as .dequant/ shows it, and refuses one that is not quantised")
    func list() async throws {
      let files = try TemporaryDirectory()
      let (sample, _) = try Self.sharded(in: files)
      let outcome = try await Command.run("\(Machine.stls)", ["--dequant", "\(files.path)"])
      #expect(outcome.status == 0)
      #expect(outcome.text.contains("\(sample.expected[0].name)  F32   [131, 140]"), "\(outcome.text)")
      #expect(outcome.text.contains("in 2 tensors, 2 files"))
      let json = try await Command.run("\(Machine.stls)", ["--dequant", "--json", "\(files.path)"])
      try await withMount(files.path) { mount in
        let document = try mount.bytes(".dequant/metadata.json")
        #expect(document == json.output)
      }
      let plain = try files.write("plain/m.safetensors", SafetensorsFile(.init("a", "BF16", [4])))
      let refused = try await Command.run("\(Machine.stls)", ["--dequant", "\(plain)"])
      #expect(refused.status == 65)
      #expect(refused.error.contains("nothing to dequantise"))
    }

    @Test("Random quantised models equal the numbers that NumPy computes, bit for bit")
    func reference() async throws {
      let output = try await Reference.run("dequantizing.py", "\(Machine.stpack)", "39", "7")
      #expect(output.hasSuffix("quantised tensors the same, 0 models different"), "\(output)")
    }

    /// Writes a file of tensors that are holes, except for some bytes. Returns the offset of each tensor.
    private static func writeHoles(
      _ path: FilePath, _ tensors: [(name: String, dtype: String, shape: [Int], size: Int)]
    ) throws -> [Int64] {
      var end = 0
      var entries: [String] = []
      var starts: [Int64] = []
      for (name, dtype, shape, size) in tensors {
        entries.append(
          "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":[\(end),\(end + size)]}")
        starts.append(Int64(end))
        end += size
      }
      var header = "{\(entries.joined(separator: ","))}"
      header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
      let length = header.utf8.count
      let file = try FileDescriptor.open(
        path, .writeOnly, options: [.create], permissions: [.ownerReadWrite])
      try file.closeAfter {
        try file.writeAll((0..<8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) } + Array(header.utf8))
        try file.resize(to: Int64(8 + length + end))
      }
      return starts.map { $0 + Int64(8 + length) }
    }

    private static func write(_ bytes: [UInt8], at place: Int64, of path: FilePath) throws {
      let file = try FileDescriptor.open(path, .writeOnly)
      try file.closeAfter { _ = try file.writeAll(toAbsoluteOffset: place, bytes) }
    }

    @Test(
      "In a model with many scales a NaN one makes reads of its block fail, with a line in the log, and stpack refuse"
    )
    func doubtfulScale() async throws {
      let files = try TemporaryDirectory()
      let path = files.path.appending("m.safetensors")
      // The model has 17 MiB of scales, one scale for 16 numbers.
      let (rows, columns) = (1088, 1 << 18)
      let starts = try Self.writeHoles(
        path,
        [
          ("w.weight_packed", "U8", [rows, columns / 2], rows * columns / 2),
          ("w.weight_scale", "F8_E4M3", [rows, columns / 16], rows * columns / 16),
          ("w.weight_global_scale", "F32", [1], 4),
        ])
      try Self.write([0, 0, 0x80, 0x3F], at: starts[2], of: path)
      let row = 7
      try Self.write([0x7F], at: starts[1] + Int64(row * columns / 16), of: path)
      let status = try await withForegroundMount(path) { mount in
        let file = try OpenFile(mount.file(".dequant/w.weight"), OpenFile.direct)
        #expect(try file.alignedBytes(4096, at: 0).allSatisfy { $0 == 0 })
        for _ in 0..<2 {
          #expect(throws: Errno.ioError) { try file.alignedBytes(4096, at: row * columns * 4) }
        }
        #expect(try file.alignedBytes(4096, at: row * columns * 4 + 4096).allSatisfy { $0 == 0 })
        let lines = try mount.log.filter { $0.contains("tensor 'w.weight': a scale is NaN, infinite or 0") }
        #expect(lines.count == 1)
        mount.send(SIGTERM)
      }
      #expect(status == 0)
      let packed = try await Command.run(
        "\(Machine.stpack)", ["--dequant", "\(path)", "-o", "\(files.path)/out.safetensors"])
      #expect(packed.status == 65)
      #expect(packed.error.contains("tensor 'w.weight': a scale is NaN, infinite or 0"), "\(packed.error)")
      for (command, arguments) in [
        ("stcat", ["w.weight"]), ("stunpack", ["\(files.path)/out"]), ("stls", ["--stats"]),
      ] {
        let outcome = try await Command.run(
          "\(Machine.link(command))", ["--dequant", "\(path)"] + arguments)
        #expect(outcome.status == 65, "\(command): \(outcome.error)")
        #expect(outcome.error.contains("cannot read tensor 'w.weight': a scale is NaN, infinite or 0"))
      }
      #expect((try? Stat(files.path.appending("out"))) == nil)
    }

    @Test(
      "Reading a whole dequantised model takes the daemon a few MiB, and a cache of 32 MiB where columns are read"
    )
    func memory() async throws {
      let files = try TemporaryDirectory()
      let path = files.path.appending("m.safetensors")
      let (rows, columns, outputs) = (8192, 4096, 24576)
      let starts = try Self.writeHoles(
        path,
        [
          ("a.weight", "F8_E4M3", [rows, columns], rows * columns), ("a.weight_scale", "F32", [1], 4),
          ("b.qweight", "I32", [columns / 8, outputs], columns * outputs / 2),
          ("b.scales", "F16", [1, outputs], outputs * 2), ("b.qzeros", "I32", [1, outputs / 8], outputs / 2),
        ])
      try Self.write([0, 0, 0x80, 0x3F], at: starts[1], of: path)
      try Self.write([UInt8](repeating: 0x3C, count: outputs * 2), at: starts[3], of: path)
      try files.write("quantize_config.json", text: "{\"bits\": 4, \"group_size\": -1}")
      let status = try await withForegroundMount(path) { mount in
        let size = rows * columns * 4
        let weight = try OpenFile(mount.file(".dequant/a.weight"), OpenFile.direct)
        _ = try weight.alignedBytes(1 << 20, at: 0)
        let first = try mount.usage.memory
        for place in stride(from: 0, to: size, by: 1 << 20) {
          #expect(try weight.alignedBytes(1 << 20, at: place).count == 1 << 20)
        }
        let second = try mount.usage.memory
        #expect(second - first < 8 << 20, "\(second - first) bytes")
        // The read covers a part of each cached stripe.
        let packed = try OpenFile(mount.file(".dequant/b.weight"), OpenFile.direct)
        for place in stride(from: 0, to: outputs * columns * 4, by: 8 << 20) {
          #expect(try packed.alignedBytes(4096, at: place).count == 4096)
        }
        let third = try mount.usage.memory
        #expect(third - second < 48 << 20, "\(third - second) bytes")
        mount.send(SIGTERM)
      }
      #expect(status == 0)
    }

    @Test("A module that does not fit its format causes a warning at mount, and is shown as stored")
    func refused() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write(
        "m.safetensors",
        SafetensorsFile(
          .init("a.weight", "F8_E4M3", [200, 4]), .init("a.weight_scale_inv", "F32", [1, 1]),
          .init("b.weight", "F8_E4M3", [4, 4]), .init("b.weight_scale_inv", "F32", [1, 1])))
      try files.write("config.json", text: "{\"quantization_config\": {\"quant_method\": \"fp8\"}}")
      let warned = try await Command.run("\(Machine.stls)", ["--dequant", "\(path)"])
      #expect(
        warned.errorLines.contains { $0.contains("'a.weight' is not dequantised: weight_scale_inv is 1x1") })
      try await withMount(path) { mount in
        let names = try await Self.names(mount.file(".dequant"))
        let (stored, computed) = (try mount.bytes(".dequant/a.weight"), try mount.bytes(".dequant/b.weight"))
        #expect(names == ["a.weight", "a.weight_scale_inv", "b.weight", "metadata.json"])
        #expect(stored.count == 800)
        #expect(computed.count == 64)
      }
    }
  }
}
