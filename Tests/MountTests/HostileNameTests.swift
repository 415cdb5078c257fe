import Fixtures
import Glibc
import Safetensors
import SystemPackage
import Testing

extension MountTests {
  /// Names that try to leave the mount, to be two files at once, to exceed limits, or to act on a terminal, as the tools of a
  /// shell see them.
  @Suite struct HostileNameTests {
    private static let long = String(repeating: "x", count: 100_000)

    /// Each tensor of the model is a different line of text.
    private static let names: [String] = [
      "", ".", "..", "/", "//", "../../etc/passwd", "/etc/passwd", "a/../../b", "./a", "-rf", "--help", "*",
      "~root",
      "$(id)", "`id`", "a;b", "'", "\"", "\\", " ", "new\nline", "tab\t", "nul\0", "bell\u{7}", "\u{1B}[2J",
      "\u{1B}]0;t\u{7}",
      "del\u{7F}", "c1\u{9B}31m", "rtl\u{202E}txt", "isolate\u{2066}", "zero\u{200B}width", "bom\u{FEFF}",
      "line\u{2028}",
      "a", "a/b", "a/b/c", "a%2Fb", "A", "é", "e\u{301}", "metadata.json", "metadata.json/x",
      "metadata%2Ejson", ".npy/a.npy",
      ".npy", "%2Enpy", ".f32", ".safetensors/a", "%", "%25", "%~", "%~0123456789abcdef", "con", "nul",
      "lost+found",
      String(repeating: "é", count: 127), String(repeating: "é", count: 128), String(long.prefix(255)),
      String(long.prefix(256)), String(long.prefix(256)) + "/deep", long, long + "y",
      String(repeating: "d/", count: 1000) + "w", String(repeating: "\u{1B}", count: 5000),
      // These names look like the paths of other names.
      String(long.prefix(237)) + "%~" + "9b1df59a3e8a8f2c",
    ]

    private static let lines = names.indices.map { "tensor \($0)" }

    private static var model: SafetensorsFile {
      SafetensorsFile(
        zip(names, lines).map { name, line in
          .init(name, "U8", [line.utf8.count + 1], data: Array("\(line)\n".utf8))
        },
        metadata: ["\u{1B}[2J": "\u{202E}\u{9B}"])
    }

    @Test(
      "find -print0 and xargs -0 see each tensor once, and nothing but files and directories of the mount")
    func walk() async throws {
      let directory = try TemporaryDirectory()
      try await withMount(directory.write("m.safetensors", Self.model)) { mount in
        func shell(_ script: String) async throws -> String {
          try await Command.output(of: "sh", "-euc", "cd \"$1\"; " + script, "sh", "\(mount.path)")
        }
        let seen = try await shell("find . -type f ! -path ./metadata.json -print0 | xargs -0 cat")
        #expect(seen.split(separator: "\n").sorted() == Self.lines.map { $0[...] }.sorted())
        #expect(try await shell("find . ! -type f ! -type d -print") == "")
        #expect(try await shell("find . -printf '%D\\n' | sort -u | wc -l") == "1")
        #expect(try await shell("ls -lAR | grep -c '^-'") == "\(Self.names.count + 1)")
        // Programs that read lines must see each name as one name.
        #expect(try await shell("find . | LC_ALL=C grep -c '[[:cntrl:]]' || :") == "0")
        #expect(try await shell("find . | wc -l") == shell("find . -print0 | tr -dc '\\0' | wc -c"))
      }
    }

    @Test("A path of 20,000 components is walked to its end and back")
    func depth() async throws {
      let directory = try TemporaryDirectory()
      let name = String(repeating: "d/", count: 20_000) + "w"
      let source = try directory.write(
        "m.safetensors", SafetensorsFile(.init(name, "U8", [5], data: Array("deep\n".utf8))))
      try await withMount(source) { mount in
        let found = try await Command.output(
          of: "find", "\(mount.path)", "-name", "w", "-type", "f", "-printf", "%d %s\n", "-execdir", "cat",
          "{}", "+")
        #expect(found == "20001 5\ndeep")
        // A path that the kernel refuses does not change the mount.
        #expect(throws: Errno.fileNameTooLong) { try OpenFile(mount.file(String(name.prefix(5000)))) }
      }
    }

    @Test("Nothing that a command prints about a model acts on a terminal")
    func output() async throws {
      let files = try TemporaryDirectory()
      let directory = try files.makeDirectory("\u{1B}[2J\u{9B}")
      try files.write("\u{1B}[2J\u{9B}/m\u{202E}.safetensors", Self.model)
      let source = directory.appending("m\u{202E}.safetensors")
      let stls = try Machine.stls
      let stpack = try Machine.stpack
      for (command, arguments) in [
        (stls, []), (stls, ["-h", "--sort", "size"]), (stls, ["--json"]),
        (stpack, ["--dry-run", "-o", "\(directory)/o.safetensors"]),
        (stpack, ["--dry-run", "-o", "\(directory)/o.safetensors", "--max-shard-size", "20"]),
        (stpack, ["--rename", "s/.*/\u{1B}[2J/", "-o", "\(directory)/o.safetensors"]),
        (stpack, ["-o", "\(directory)"]), (try Machine.stmount, ["\(source)"]),
      ] {
        let outcome = try await Command.run("\(command)", arguments + ["\(source)"])
        expectHarmless(
          String(decoding: outcome.output, as: UTF8.self),
          "\(command.lastComponent, default: "") \(arguments)")
        expectHarmless(outcome.error, "\(arguments)")
        #expect(!outcome.output.isEmpty || !outcome.error.isEmpty, "\(command) \(arguments)")
      }
      let status = try await withForegroundMount(source, options: ["--log-level", "debug"]) { mount in
        expectHarmless(
          String(decoding: try OpenFile(mount.file("metadata.json")).bytes(), as: UTF8.self), "metadata.json")
        _ = unsafe truncate("\(source)", 5000)
        #expect(throws: Errno.ioError) { try OpenFile(mount.file("con")).bytes() }
        mount.send(SIGUSR1)
        mount.send(SIGTERM)
        #expect(try await eventually { try !mount.isMounted })
        let log = try mount.log
        #expect(log.contains { $0.contains("changed") }, "\(log)")
        for line in log { expectHarmless(String(line), "the log") }
      }
      #expect(status == 0)
    }

    /// Expects only printable characters and line feeds.
    private func expectHarmless(_ text: String, _ what: String) {
      let bad = text.unicodeScalars.first { $0 != "\n" && PrintableText.isUnsafe($0) || $0 == "\u{FFFD}" }
      #expect(bad == nil, "\(what): \(bad.map { String($0.value, radix: 16) } ?? "")")
    }
  }
}
