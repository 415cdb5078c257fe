import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// `stls --stats`: statistics of tensors' values.
  @Suite struct ValuesTests {
    private func stls(_ arguments: String...) async throws -> Outcome {
      try await Command.run("\(Machine.stls)", arguments)
    }

    /// Tensors of each type with random bits, which include numbers of all sizes, NaNs and infinities. Some are small, and some so
    /// large that stls counts bit patterns. Also tensors with values that a model could have.
    private static var model: SafetensorsFile {
      var tensors = TensorData.bitSizes.flatMap { dtype, _ in
        [
          SafetensorsFile.Tensor("\(dtype).few", dtype, [3, 4]),
          SafetensorsFile.Tensor("\(dtype).odd", dtype, [4, 501, 3]),
        ]
      }
      // The sum of larger numbers could overflow in one order of addition and not in another.
      for index in tensors.indices where tensors[index].dtype == "F64" {
        for byte in stride(from: 7, to: tensors[index].data.count, by: 8) { tensors[index].data[byte] = 0x3F }
      }
      tensors += ["BF16", "F16", "I16", "F8_E4M3", "U8", "BOOL", "F4"].map {
        SafetensorsFile.Tensor("\($0).many", $0, [2_200_010])
      }
      let floats = (0..<300_001).flatMap { index -> [UInt8] in
        let bits = Float(1 + Double(index % 1009) / 1e6).bitPattern
        return [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: bits >> $0) }
      }
      tensors += [
        .init("blocks", "U8", [9_000_001]), .init("narrow", "F32", [300_001], data: floats),
        .init("empty", "F32", [0]), .init("scalar", "I64", []),
        .init("zeros", "BF16", [4], data: [0, 0, 0, 0x80, 0, 0, 0, 0]),
        .init("infinite", "F16", [3], data: [0, 0x7C, 0, 0x3C, 0, 0x3C]),
        .init("nothing", "F16", [1], data: [1, 0x7C]),
      ]
      return SafetensorsFile(tensors)
    }

    @Test("The statistics of every dtype are those of NumPy for float64")
    func reference() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let outcome = try await stls("--stats", "\(source)")
      #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
      let table = try files.write("table", outcome.output)
      try await withMount(source) { mount in
        let compared = try await Reference.run("values.py", "\(mount.path)", "\(table)")
        #expect(compared == "\(Self.model.tensors.count)")
      }
    }

    @Test(
      "The table has a line of titles, and the order that --sort asks for; a terminal gets a histogram too")
    func table() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write(
        "m.safetensors",
        SafetensorsFile(
          .init("b", "U8", [4], data: [0, 1, 1, 16]), .init("a", "F32", [1], data: [0, 0, 0xC0, 0x7F])))
      let outcome = try await stls("--stats", "--sort", "size", "\(source)")
      #expect(
        outcome.text == """
          name  dtype  shape  min   max  mean                std  zeros  nan  inf
          a     F32    [1]      -     -     -                  -      0    1    0
          b     U8     [4]    0.0  16.0   4.5  6.652067347825035      1    0    0
          """, "\(outcome.text)")
      let command = "\(try Machine.stls) --stats \(source)"
      let drawn = try await Command.output(of: "env", "TERM=xterm", "script", "-qec", command, "/dev/null")
      #expect(drawn.contains("0    0  ▅█             ▅") || drawn.contains("0  ▅█"), "\(drawn)")
    }

    @Test("--fail-on-nan exits with 1 only if a value is NaN; -q prints nothing")
    func failing() async throws {
      let files = try TemporaryDirectory()
      let sound = try files.write(
        "sound.safetensors", SafetensorsFile(.init("a", "F32", [2], data: [0, 0, 0x80, 0x7F, 0, 0, 0, 0])))
      let bad = try files.write(
        "bad.safetensors", SafetensorsFile(.init("a", "F32", [1], data: [1, 0, 0x80, 0xFF])))
      #expect(try await stls("-q", "--fail-on-nan", "\(sound)").status == 0)
      let quiet = try await stls("-q", "--fail-on-nan", "\(bad)")
      #expect(quiet.status == 1 && quiet.output.isEmpty && quiet.error.isEmpty, "\(quiet)")
      let listed = try await stls("--fail-on-nan", "\(bad)")
      #expect(listed.status == 1 && listed.text.contains("\na "), "\(listed)")
      #expect(try await stls("--stats", "--json", "\(bad)").status == 64)
    }
  }
}
