import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Mistakes of users who know other programs.
  @Suite struct LikelyMistakeTests {
    private static let model = SafetensorsFile(.init("w", "F32", [100]), .init("b", "I64", [2]))

    @Test(
      "A misspelled option is refused with the nearest correct one",
      arguments: [
        (["--versoin"], "--version"), (["--allow-other", "m", "d"], "'-o allow_other'"),
        (["--umask=022", "m", "d"], "'-o umask=022'"), (["-o", "allow-other", "m", "d"], "'allow_other'"),
        (["-o", "uuid=3", "m", "d"], "'uid'"), (["-oALLOW_OTHER", "m", "d"], "'allow_other'"),
        (["--idle-timeout", "0", "m", "d"], "600, 10m or 2h"),
        (["-o", "idle_timeout=soon", "m", "d"], "600, 10m or 2h"),
        (["-o", "log_levl=info", "m", "d"], "'log_level'"),
        (["list"], "stmount --list"), (["umount", "d"], "stmount -u MOUNTPOINT"),
        (["ls", "m"], "stls SOURCE"),
        (["mount", "m", "d"], "stmount SOURCE MOUNTPOINT"),
      ])
    func nearMisses(arguments: [String], advice: String) async throws {
      let outcome = try await Command.stmount(arguments)
      #expect(outcome.status == EX_USAGE)
      #expect(outcome.errorLines.count == 1 && outcome.error.contains(advice), "\(outcome.error)")
      #expect(!outcome.error.contains(".;"))
    }

    @Test("-V prints the version, as --version does")
    func version() async throws {
      let short = try await Command.stmount(["-V"])
      let long = try await Command.stmount(["--version"])
      #expect(short.status == 0 && short.output == long.output && short.text.hasPrefix("stmount "))
    }

    @Test("--idle-timeout takes units", arguments: ["90", "1.5m", "1min", "2h", "1d", "60s"])
    func idleUnits(text: String) async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try await withMount(source, options: ["--idle-timeout", text]) { mount in
        let bytes = try mount.bytes("w")
        #expect(bytes == Self.model.tensors[0].data)
      }
    }

    @Test(
      "A terminal is told once what was mounted, where, and which views there are; -q and pipes are told nothing"
    )
    func terminalLine() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("tiny.safetensors", Self.model)
      let place = try files.makeDirectory("mnt")
      for quiet in ["", "-q "] {
        let shown = try await Command.output(
          of: "script", "-qec", "'\(Machine.stmount)' \(quiet)'\(source)' '\(place)'", "/dev/null")
        try await Command.output(of: "umount", "\(place)")
        let expected =
          "mounted tiny.safetensors (2 tensors, 416 bytes) on '\(place)'; views: .npy .f32 .safetensors"
        // The terminal turns a newline into CR LF.
        #expect(shown.split(whereSeparator: \.isNewline) == (quiet.isEmpty ? [expected[...]] : []))
      }
    }

    @Test("A mount point that is not empty, or contains the source, is a warning; the mount works")
    func hiddenEntries() async throws {
      let files = try TemporaryDirectory()
      let outside = try files.write("m.safetensors", Self.model)
      let source = try files.write("full/sub/m.safetensors", Self.model)
      let place = files.path.appending("full")
      for (source, words) in [(outside, "is not empty"), (source, "hides its own source")] {
        let outcome = try await Command.stmount(["\(source)", "\(place)"])
        #expect(outcome.status == 0)
        #expect(outcome.errorLines.count == 1 && outcome.error.contains(words), "\(outcome.error)")
        expectSame(try OpenFile(place.appending("w")).bytes(), Self.model.tensors[0].data, "w")
        try await Command.output(of: "umount", "\(place)")
      }
    }

    @Test("A mount point of another user is refused with its owner and the remedy")
    func foreignMountPoint() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        #"chown root "$mnt"; chmod 755 "$mnt"; as_nobody "$stmount" "$model" "$mnt" 2>&1 || echo "status $?""#
      )
      #expect(output.contains("belongs to root") && output.contains("mkdir -p ~/m"), "\(output)")
      #expect(output.hasSuffix("status 77"))
    }

    @Test("Arguments in another order, given twice, or of something else are refused for what they are")
    func arguments() async throws {
      let files = try TemporaryDirectory()
      let source = "\(try files.write("m.safetensors", Self.model))"
      let other = "\(try files.write("other.safetensors", Self.model))"
      let config = "\(try files.write("config.json", text: "{}"))"
      let out = "\(files.path)/out"
      let empty = try TemporaryDirectory()
      for (command, arguments, status, words) in [
        ("stmount", [source, other], 73, "the last argument is the directory to mount on"),
        ("stcat", ["w", source], 64, "'\(source)' is a model: the source comes first"),
        ("stcat", ["none", "w"], 66, "cannot open it"),
        ("stunpack", ["\(files.path)/new", source], 64, "'\(source)' is a model: the source comes first"),
        ("stunpack", ["\(empty.path)", source], 64, "has no model, and '\(source)' is a model"),
        ("stls", [source, source], 65, "this is the same file as '\(source)'; name it once"),
        ("stpack", [source, source, "-o", out], 65, "'\(source)': this input is given twice"),
        ("stls", ["\(files.path)"], 65, "if these are two models, name one of them"),
        ("stls", ["https://host/m.safetensors"], 66, "'https://host/m.safetensors': "),
        ("stls", [config], 65, "this is text, not a model: name the model's file or directory"),
        ("stls", ["--variant", "fp16", "\(files.path)"], 66, "no variant 'fp16' in it"),
      ] as [(String, [String], Int32, String)] {
        let outcome = try await Command.run("\(Machine.link(command))", arguments)
        #expect(outcome.status == status && outcome.errorLines.count == 1, "\(command): \(outcome)")
        #expect(outcome.error.contains(words), "\(outcome.error)")
      }
    }

    @Test("An expression is quoted as it was typed")
    func backslashes() async throws {
      let outcome = try await Command.run(
        "\(try Machine.link("stpack"))", ["m", "-n", "--rename", #"s/^a\./(b"#])
      #expect(outcome.status == EX_USAGE && outcome.error.contains(#"'s/^a\./(b'"#), "\(outcome.error)")
    }
  }
}
