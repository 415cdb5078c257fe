import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// stunpack(1), which writes a model as a directory.
  @Suite struct UnpackTests {
    private static let model = SafetensorsFile(
      [
        .init("layer/0/weight", "BF16", [400, 3]), .init("layer", "F32", [3]), .init("", "U8", [2]),
        .init("../../etc/passwd", "F64", [2]), .init("metadata.json", "I16", [3]),
        .init("x.npy/y", "U32", [2]),
        .init("\u{1}%é\u{202E}", "F8_E4M3", [5]), .init("empty", "F4", [0]), .init("scalar", "C64", []),
        .init("large", "U8", [3 << 20]), .init(String(repeating: "é", count: 200), "U64", [1]),
      ], metadata: ["format": "pt"]
    ).asReferenceWrites

    private func stunpack(_ arguments: [String]) async throws -> Outcome {
      try await Command.run("\(Machine.link("stunpack"))", arguments)
    }

    /// Unpacks a source into a directory. Expects success and no output.
    private func unpack(_ source: FilePath, to directory: FilePath, _ options: String...) async throws {
      let outcome = try await stunpack(["\(source)", "\(directory)"] + options)
      #expect(outcome.status == 0 && outcome.error.isEmpty && outcome.output.isEmpty, "\(outcome)")
    }

    @Test(
      "The directory equals cp -r of the mount, for the tree and each view, and packs to the model again"
    )
    func copies() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try await withMount(source) { mount in
        for (form, view) in [("raw", ""), ("npy", ".npy"), ("f32", ".f32"), ("safetensors", ".safetensors")] {
          let unpacked = files.path.appending(form)
          try await unpack(source, to: unpacked, "--as", form)
          try await Command.output(of: "diff", "-r", "\(mount.file(view))", "\(unpacked)")
        }
      }
      expectSame(
        try await Packing.pack(files.path.appending("raw")), Self.model.bytes, "the packed directory")
    }

    @Test("Shards, several models and files of PyTorch are unpacked as they are mounted")
    func sources() async throws {
      let files = try TemporaryDirectory()
      let pipeline = try files.writePipeline("pipe", unet: Self.model)
      var torch = TorchFile()
      let storage = torch.addStorage("Float", count: 600_000)
      torch.object = .ordered(["t": torch.view(of: storage, [300, 2000], strides: [1, 300])])
      for source in [pipeline, try files.write("m.pt", torch)] {
        let unpacked = files.path.appending("out")
        try await unpack(source, to: unpacked)
        try await withMount(source) { mount in
          try await Command.output(of: "diff", "-r", "\(mount.path)", "\(unpacked)")
        }
        try await Command.output(of: "rm", "-r", "\(unpacked)")
      }
    }

    @Test("--include and --exclude give the directory of a model with only those tensors")
    func chosen() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let unpacked = files.path.appending("out")
      let options = ["--include", "l*", "--exclude", "large"]
      try await unpack(source, to: unpacked, options[0], options[1], options[2], options[3])
      let packed = try await Packing.pack(unpacked)
      let expected = try await Packing.pack(source, options: options)
      expectSame(packed, expected, "the chosen tensors")
      let names = try await Command.output(of: "jq", "-c", ".tensors | keys", "\(unpacked)/metadata.json")
      #expect(names == #"["layer","layer/0/weight"]"#)
      for options in [["--include", "z*"], ["--exclude", "*"]] {
        let outcome = try await stunpack(["\(source)", "\(files.path)/none"] + options)
        #expect(outcome.status == 66 && outcome.errorLines.count == 1, "\(outcome)")
        #expect((try? Stat(files.path.appending("none"))) == nil)
      }
    }

    @Test("No existing file is replaced without --force, and no link leads out of the directory")
    func exists() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let directory = try files.makeDirectory("out")
      try files.write("out/scalar", text: "precious")
      func fails(_ options: [String], _ words: String) async throws {
        let before = try await Command.output(of: "find", "\(files.path)")
        let outcome = try await stunpack(["\(source)", "\(directory)"] + options)
        #expect(outcome.status == 73 && outcome.errorLines.count == 1, "\(outcome)")
        #expect(outcome.error.contains(words), "\(outcome.error)")
        #expect(try await Command.output(of: "find", "\(files.path)") == before)
      }
      try await fails([], "it exists already; --force replaces it")
      #expect(try OpenFile(directory.appending("scalar")).bytes() == Array("precious".utf8))
      try files.makeDirectory("elsewhere")
      let link = try files.makeLink("out/x.npy", to: "\(files.path)/elsewhere")
      try await fails(["--force"], "it exists and is not a directory")
      try await Command.output(of: "rm", "\(link)")
      try await unpack(source, to: directory, "--force")
      expectSame(try await Packing.pack(directory), Self.model.bytes, "the packed directory")
      try await Command.output(of: "rm", "\(directory)/scalar")
      try files.makeLink("out/scalar", to: "nowhere")
      let outcome = try await stunpack(["\(source)", "\(directory)", "--force"])
      #expect(outcome.status == 73 && outcome.error.contains("not a regular file"), "\(outcome)")
    }

    @Test("A tensor whose path is longer than the system allows is refused before anything is written")
    func deep() async throws {
      let files = try TemporaryDirectory()
      let deep = String(repeating: "d/", count: 2100) + "t"
      let source = try files.write(
        "m.safetensors", SafetensorsFile(.init(deep, "U8", [1]), .init("w", "U8", [1])))
      let directory = files.path.appending("out")
      let outcome = try await stunpack(["\(source)", "\(directory)"])
      #expect(outcome.status == 73 && outcome.errorLines.count == 1, "\(outcome)")
      #expect(outcome.error.contains("longer than the system allows, 4095 bytes"), "\(outcome)")
      #expect((try? Stat(directory)) == nil)
      try await unpack(source, to: directory, "--exclude", "d/*")
    }

    @Test("A wrong command line is refused, and a path where no directory can be made")
    func usage() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      for (arguments, status) in [
        ([source], 64), ([], 64), ([source, "\(files.path)/out", "--as", "png"], 64),
        ([source, "\(files.path)/no/out"], 73), ([source, source], 73), (["\(files.path)/no", "out"], 66),
      ] as [([String], Int32)] {
        let outcome = try await stunpack(arguments)
        #expect(outcome.status == status && outcome.errorLines.count == 1, "\(outcome)")
      }
      let outcome = try await stunpack([source, "\(files.path)/no/out"])
      #expect(outcome.error.contains("mkdir -p '\(files.path)/no'"), "\(outcome.error)")
    }

    @Test(
      "Without enough space nothing is written; a full disk, a signal and a change leave nothing"
    )
    func interrupted() async throws {
      let data = [UInt8](repeating: 1, count: 32 << 20)
      let space = try PrivateNamespace(
        model: SafetensorsFile(.init("a", "U8", [32 << 20], data: data), .init("b/c", "U8", [1])))
      let output = try await space.run(
        """
        unpack=$1; mkdir "$directory/models" "$directory/slow" "$directory/out"
        mv "$model" "$directory/models"
        out=$directory/out/o; source=$directory/models/m.safetensors; slow=$directory/slow/m.safetensors
        left() { ls -A "$directory/out"; }
        mount -t tmpfs -o size=8m tmpfs "$directory/out"
        "$unpack" "$source" "$out" 2>&1 | sed 's/.*not enough/not enough/'; left
        umount "$directory/out"
        (ulimit -f 9000; "$unpack" "$source" "$out" 2>&1 | sed 's/.*cannot/cannot/'); left
        bindfs -o ro --read-rate=8M "$directory/models" "$directory/slow"
        trap 'umount -l "$directory/slow"' EXIT
        begins() { until [ -n "$(ls -A "$directory/out")" ]; do sleep 0.01; done; sleep 0.2; }
        env --default-signal=INT "$unpack" "$slow" "$out" & begins; kill -INT $!; wait $! || echo "status $?"; left
        "$unpack" "$slow" "$out" 2>"$directory/error" & begins; touch -m -d @1 "$source"; wait $! || echo "status $?"
        grep -c 'm.safetensors.*changed while it was read' "$directory/error"; left
        """, "\(Machine.link("stunpack"))")
      let lines = output.split(separator: "\n")
      #expect(lines.count == 5, "\(output)")
      let room = /not enough free space: it takes 3355\d\d\d\d bytes, and 8388608 are free; .*/
      #expect(lines.first?.wholeMatch(of: room) != nil, "\(output)")
      #expect(
        lines.dropFirst().elementsEqual(["cannot write it: File too large", "status 130", "status 65", "1"]),
        "\(output)")
    }
  }
}
