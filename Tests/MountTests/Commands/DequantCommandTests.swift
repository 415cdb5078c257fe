import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// `--dequant` of the commands that do not mount.
  @Suite struct DequantCommandTests {
    /// A quantised model in a directory with its configuration.
    private static func write(_ sample: QuantizedSample, _ directory: String, in files: TemporaryDirectory)
      throws
      -> FilePath
    {
      if let config = sample.config { try files.write("\(directory)/config.json", text: config) }
      return try files.write("\(directory)/model.safetensors", sample.file)
    }

    private static func floats(_ values: [Float]) -> [UInt8] {
      values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> UInt32(8 * $0)) }
      }
    }

    private static func sample(_ name: String) throws -> QuantizedSample {
      try #require(QuantizedSample.all.first { $0.name == name })
    }

    private func run(_ command: String, _ arguments: [String]) async throws -> Outcome {
      try await Command.run("\(Machine.link(command))", arguments)
    }

    @Test("stcat --dequant writes the files of .dequant/, in every form")
    func cat() async throws {
      let files = try TemporaryDirectory()
      let sample = try Self.sample("GPTQ of 4 bits, version 1, reordered")
      let path = try Self.write(sample, "q", in: files)
      let name = sample.expected[0].name
      try await withMount(path) { mount in
        for (form, file) in [
          ("raw", name), ("npy", ".npy/\(name).npy"), ("f32", ".f32/\(name)"),
          ("safetensors", ".safetensors/\(name).safetensors"),
        ] {
          let outcome = try await run("stcat", ["--dequant", "\(path)", name, "--as", form])
          expectSame(outcome.output, try mount.bytes(".dequant/\(file)"), form)
        }
      }
      let part = try await run("stcat", ["--dequant", "\(path)", name, "--range", "5:4099"])
      expectSame(part.output, Array(Self.floats(sample.expected[0].values)[5..<4099]), "a part")
      let scales = name.replacing(/weight$/, with: "scales")
      let hidden = try await run("stcat", ["--dequant", "\(path)", scales])
      #expect(hidden.status == 66 && hidden.error.contains("there is no tensor"), "\(hidden.error)")
      #expect(try await run("stcat", ["\(path)", scales]).status == 0)
    }

    @Test("stunpack --dequant writes what cp -r of .dequant/ gives, and stpack makes the model of it")
    func unpack() async throws {
      let files = try TemporaryDirectory()
      let path = try Self.write(try Self.sample("NVFP4 of ModelOpt"), "q", in: files)
      try await withMount(path) { mount in
        for (form, view) in [("raw", ""), ("npy", ".npy")] {
          let unpacked = files.path.appending(form)
          let outcome = try await run("stunpack", ["--dequant", "--as", form, "\(path)", "\(unpacked)"])
          #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
          try await Command.output(of: "diff", "-r", "\(mount.file(".dequant/" + view))", "\(unpacked)")
        }
        let packed = try await Packing.pack(files.path.appending("raw"))
        expectSame(packed, try mount.bytes(".dequant/.model.safetensors"), "the packed directory")
      }
    }

    @Test("Of several models, those that are not quantised stay as they are stored")
    func pipeline() async throws {
      let files = try TemporaryDirectory()
      try files.write("pipe/model_index.json", text: "{}")
      let sample = try Self.sample("NVFP4 of ModelOpt")
      try files.write("pipe/unet/diffusion_pytorch_model.safetensors", sample.file)
      try files.write(
        "pipe/vae/diffusion_pytorch_model.safetensors", SafetensorsFile(.init("v", "BF16", [2])))
      let unpacked = files.path.appending("out")
      let outcome = try await run(
        "stunpack", ["--dequant", "\(files.path.appending("pipe"))", "\(unpacked)"])
      #expect(outcome.status == 0, "\(outcome.error)")
      #expect(try OpenFile(unpacked.appending("vae/v")).bytes().count == 4)
      let name = sample.expected[0].name
      expectSame(
        try OpenFile(unpacked.appending("unet/\(name)")).bytes(), Self.floats(sample.expected[0].values), name
      )
    }

    @Test("stls counts the parameters of dequantised weights, and only elements if these are in doubt")
    func parameters() async throws {
      let files = try TemporaryDirectory()
      let sample = try Self.sample("GPTQ of 4 bits, version 1, reordered")
      let path = try Self.write(sample, "q", in: files)
      func last(_ options: String...) async throws -> Substring {
        try await run("stls", options + ["\(path)"]).text.split(separator: "\n").last ?? ""
      }
      // Besides the weight, the sample has a norm of 8 elements.
      let count = sample.expected.reduce(8) { $0 + $1.values.count }
      try #require(sample.expected.count == 1 && count < 10_000)
      let stored = try await last()
      #expect(stored.hasPrefix("\(count) parameters in ") && stored.contains(" elements: I32 "), "\(stored)")
      let whole = try await last("--dequant")
      #expect(whole == "\(count) parameters: F32 \(count - 8), BF16 8", "\(whole)")
      // Without its scales, the weight's shape is unknown.
      let part = try await last("--include", "*qweight")
      #expect(part.contains(" elements: I32 ") && !part.contains("parameters"), "\(part)")
      let packed = try await run("stpack", ["-n", "\(path)"]).text.split(separator: "\n").last ?? ""
      #expect(packed.contains(" elements: I32 ") && !packed.contains("parameters"), "\(packed)")
      try await withMount(path) { mount in
        let listed = try await run("stls", ["\(mount.path)"]).text.split(separator: "\n").last ?? ""
        #expect(listed == stored)
        let chosen = try await run("stls", ["--include", "*qweight", "\(mount.path)"]).text
        #expect(!chosen.contains("parameters"), "\(chosen)")
      }
    }

    @Test(
      "--dequant of a mount is refused, and names its .dequant directory",
      arguments: ["GPTQ of 4 bits, version 1, reordered", "FP8 blocks with F32 scales"])
    func mount(format: String) async throws {
      let files = try TemporaryDirectory()
      let sample = try Self.sample(format)
      let path = try Self.write(sample, "q", in: files)
      try await withMount(path) { mount in
        let place = "\(mount.path)"
        for (command, arguments, status) in [
          ("stls", [place], 65), ("stcat", [place, sample.expected[0].name], 65),
          ("stunpack", [place, "\(files.path)/out"], 65),
          ("stpack", [place, "-o", "\(files.path)/out.safetensors"], 65), ("stdiff", ["\(path)", place], 2),
        ] {
          let outcome = try await run(command, ["--dequant"] + arguments)
          #expect(outcome.status == Int32(status) && outcome.output.isEmpty, "\(command): \(outcome)")
          #expect(
            outcome.errorLines.count == 1 && outcome.error.contains("name '\(place)/.dequant'"),
            "\(command): \(outcome.error)")
        }
        let listed = try await run("stls", ["\(place)/.dequant"])
        #expect(listed.status == 0 && listed.error.isEmpty, "\(listed)")
      }
    }

    @Test("Every command refuses --dequant of a model that is not quantised")
    func ordinary() async throws {
      let files = try TemporaryDirectory()
      let path = "\(try files.write("m.safetensors", SafetensorsFile(.init("a", "BF16", [4]))))"
      for (command, arguments, status) in [
        ("stcat", [path, "a"], 65), ("stunpack", [path, "\(files.path)/out"], 65), ("stls", [path], 65),
        ("stpack", [path, "-o", "\(files.path)/out.safetensors"], 65), ("stdiff", [path, path], 2),
      ] {
        let outcome = try await run(command, ["--dequant"] + arguments)
        #expect(outcome.status == Int32(status), "\(command): \(outcome.error)")
        #expect(outcome.error.contains("leave out --dequant") && outcome.output.isEmpty, "\(outcome.error)")
      }
    }

    @Test("stdiff --dequant says how far a quantised model is from its original, whichever comes first")
    func diff() async throws {
      let files = try TemporaryDirectory()
      let path = try Self.write(try Self.sample("FP8 with a scale for each row"), "q", in: files)
      let sample = try Self.sample("FP8 with a scale for each row")
      let (name, shape, values) = sample.expected[0]
      let norm = try #require(sample.tensors.last)
      let same = try files.write(
        "same.safetensors", SafetensorsFile([.init(name, "F32", shape, data: Self.floats(values)), norm]))
      let equal = try await run("stdiff", ["--dequant", "\(path)", "\(same)"])
      #expect(equal.status == 0 && equal.output.isEmpty, "\(equal)")

      var original = values.map { $0.isNaN ? 1 : $0 }
      let position = try #require(values.firstIndex { !$0.isNaN })
      original[position] += 0.5
      let other = try files.write(
        "o.safetensors", SafetensorsFile([.init(name, "F32", shape, data: Self.floats(original)), norm]))
      let changed = "| \(name)  F32 ["
      for arguments in [["\(path)", "\(other)"], ["\(other)", "\(path)"]] {
        let outcome = try await run("stdiff", ["--dequant", "--stat"] + arguments)
        #expect(outcome.status == 1 && outcome.text.hasPrefix(changed), "\(outcome.text)")
        #expect(outcome.text.split(separator: "\n").count == 1, "\(outcome.text)")
      }
      let stored = try await run("stdiff", ["\(path)", "\(same)"])
      #expect(stored.text.contains("| \(name)  F8_E4M3"), "\(stored.text)")
    }
  }
}
