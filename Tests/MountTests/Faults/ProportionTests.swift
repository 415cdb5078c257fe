import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Processor time and peak memory of the built command for the worst headers, pickles and indexes, at one, two and four times a
  /// size.
  @Suite struct ProportionTests {
    /// Files of about `size` bytes that are costly to read, and the source among them.
    struct Sample: Sendable, CustomTestStringConvertible {
      let testDescription: String
      /// Writes the files. Returns the source, and the number of bytes that describe its tensors.
      fileprivate let write: @Sendable (TemporaryDirectory, Int) throws -> (source: FilePath, size: Int)

      fileprivate init(
        _ description: String,
        write: @escaping @Sendable (TemporaryDirectory, Int) throws -> (source: FilePath, size: Int)
      ) {
        testDescription = description
        self.write = write
      }

      /// A header of so many repeated texts, as one JSON text.
      fileprivate init(header description: String, _ text: @escaping @Sendable (Int) -> String) {
        self.init(description) { directory, size in
          let file = SafetensorsFile(header: text(size))
          return (try directory.write("m.safetensors", file), file.header.count)
        }
      }
    }

    private static let empty = #"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#

    private static func named(_ name: String) -> String { "{\"\(name)\":\(empty)}" }

    private static func repeated(_ text: String, bytes: Int) -> String {
      String(repeating: text, count: bytes / text.utf8.count)
    }

    /// Entries of an object, about `size` bytes of them.
    private static func entries(_ value: String, bytes: Int) -> String {
      (0..<bytes / (value.utf8.count + 9)).map { "\"\($0)\":\(value)" }.joined(separator: ",")
    }

    static let samples: [Sample] =
      [
        Sample(header: "tensors") { "{\(entries(empty, bytes: $0))}" },
        Sample(header: "dimensions") {
          #"{"t":{"dtype":"U8","shape":[\#(repeated("1,", bytes: $0))0],"data_offsets":[0,0]}}"#
        },
        Sample(header: "a long name") { named(repeated("n", bytes: $0)) },
        Sample(header: "escapes in a name") { named(repeated("\\u0001", bytes: $0)) },
        Sample(header: "directories in a name") { named("a" + repeated("/a", bytes: $0)) },
        Sample(header: "empty directories in a name") { named(repeated("/", bytes: $0)) },
        Sample(header: "metadata") { #"{"__metadata__":{\#(entries(#""""#, bytes: $0))}}"# },
        Sample("an index of tensors that are left out") { directory, size in
          var file = TorchFile()
          let wide = file.addStorage("ComplexDouble", count: 1)
          let names = (0..<size / 200).map { "t\($0)" }
          file.object = .pairs(names.map { (.string($0), file.view(of: wide, [1])) })
          try directory.write("pytorch_model-00001-of-00001.bin", file)
          let index = ShardIndex(names.map { ($0, "pytorch_model-00001-of-00001.bin") })
          let path = try directory.write("pytorch_model.bin.index.json", index)
          return (path, file.object.pickle.count + index.bytes.count)
        },
      ]
      + WorstPickle.all.map { pickle in
        Sample("pickle: \(pickle)") { directory, size in
          let file = pickle.file(size)
          return (try directory.write("m.pt", file), file.object.pickle.count)
        }
      }

    /// The cost of a source for a command that accepts or refuses it.
    private func usage(_ program: FilePath, _ command: [String]) async throws -> (seconds: Double, bytes: Int)
    {
      let text = try await Command.output(of: "\(program)", arguments: command)
      let words = text.split(separator: " ")
      try #require(
        words.count == 3 && (words[2] == "0" || words[2] == "\(EX_DATAERR)"), "\(command): \(text)")
      return (try #require(Double(words[0])), try #require(Int(words[1])) << 10)
    }

    @Test(
      "Twice and four times a header, pickle or index take twice and four times the time, and 64 bytes of memory for each of its bytes at most",
      arguments: samples)
    func proportion(sample: Sample) async throws {
      let files = try TemporaryDirectory()
      let program = try await CProgram("Usage").compile()
      let mountPoint = "\(try files.makeDirectory("mnt"))"
      // With -f, mount.stmount does everything except mounting.
      let commands: [(String, (FilePath) -> [String])] = [
        ("stls", { ["\($0)"] }), ("mount.stmount", { ["\($0)", mountPoint, "-f"] }),
      ]
      for (name, arguments) in commands {
        let command = "\(try Machine.link(name))"
        let small = try files.write("small.safetensors", SafetensorsFile(.init("w", "U8", [1])))
        let base = try await usage(program, [command] + arguments(small))
        var row = "| \(name) | \(sample.testDescription) |"
        let costs = try await Costs(
          from: 60_000,
          seconds: { size in
            let directory = try TemporaryDirectory()
            let (source, described) = try sample.write(directory, size)
            let usage = try await usage(program, [command] + arguments(source))
            let grown = Double(usage.bytes - base.bytes) / Double(described)
            row += " \(described) B, \(usage.seconds) s, \(grown) |"
            // The pages that the allocator keeps for itself.
            let slack = 2 << 20
            #expect(
              usage.bytes - base.bytes < 64 * described + slack,
              "\(name): \(usage.bytes - base.bytes) bytes of memory for \(described)")
            return usage.seconds
          })
        #expect(costs.areProportional, "\(name): \(costs)")
        try Self.report(row)
      }
    }

    /// Adds a row to the file that `PROPORTION_TABLE` names. For each size, it has bytes, seconds, and bytes of memory per byte.
    private static func report(_ row: String) throws {
      guard let path = unsafe getenv("PROPORTION_TABLE").map({ unsafe FilePath(platformString: $0) }) else {
        return
      }
      let file = try FileDescriptor.open(
        path, .writeOnly, options: [.create, .append], permissions: [.ownerReadWrite, .groupRead, .otherRead])
      try file.closeAfter { _ = try file.writeAll((row + "\n").utf8) }
    }

    @Test(
      "The view of a tensor of twice and four times as many dimensions takes the daemon twice and four times the time, and 64 bytes of memory for each byte of the header at most"
    )
    func giantShapes() async throws {
      let base = try await giantShape(1).memory
      let costs = try await Costs(
        from: 50_000,
        seconds: { count in
          let (seconds, memory, header) = try await giantShape(count)
          #expect(memory - base < 64 * header + 2 << 20, "\(count) dimensions: \(memory - base) bytes")
          return seconds
        })
      #expect(costs.areProportional, "\(costs)")
    }

    /// The daemon's cost of reading a tensor of so many dimensions and its views, and the number of bytes of the header.
    private func giantShape(_ count: Int) async throws -> (seconds: Double, memory: Int, header: Int) {
      let files = try TemporaryDirectory()
      let file = SafetensorsFile(.init("w", "U8", Array(repeating: 1, count: count - 1) + [0], data: []))
      let source = try files.write("\(count).safetensors", file)
      var usage = (seconds: 0.0, memory: 0)
      let status = try await withForegroundMount(source) { mount in
        let view = try OpenFile(mount.file(".safetensors/w.safetensors"), OpenFile.direct)
        let size = try Stat(view.descriptor).size
        for offset in stride(from: 0, to: Int(size), by: 4096) {
          _ = try view.alignedBytes(4096, at: offset)
        }
        expectSame(Array(try view.alignedBytes(4096, at: 0)[8..<14]), "{\"w\":{".utf8, "the header")
        #expect(try OpenFile(mount.file("metadata.json")).bytes().last == UInt8(ascii: "\n"))
        usage = try mount.usage
        mount.send(SIGTERM)
      }
      #expect(status == 0)
      return (usage.seconds, usage.memory, file.header.count)
    }
  }
}

extension ForegroundMount {
  /// The daemon's processor time in seconds, and its peak memory in bytes: proc_pid_stat(5), proc_pid_status(5).
  var usage: (seconds: Double, memory: Int) {
    get throws {
      func text(_ name: String) throws -> String {
        String(decoding: try OpenFile(FilePath("/proc/\(daemon)/\(name)")).bytes(), as: UTF8.self)
      }
      // The name is in parentheses and may contain anything. utime and stime are the 12th and 13th fields after it.
      let fields = try text("stat").split(separator: ") ").last?.split(separator: " ") ?? []
      let ticks = try #require(fields.count > 13 ? (Int(fields[11]), Int(fields[12])) : nil)
      let peak = try text("status").split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
      let memory = try #require(peak?.split(separator: " ").dropLast().last.flatMap { Int($0) })
      return (Double((ticks.0 ?? 0) + (ticks.1 ?? 0)) / Double(sysconf(CInt(_SC_CLK_TCK))), memory << 10)
    }
  }
}
