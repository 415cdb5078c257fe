import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// Tensors' names and their paths.
  @Suite struct NameTests {
    /// The names of a model, each with its expected path.
    struct Names: Sendable, CustomTestStringConvertible {
      let testDescription: String
      let pairs: KeyValuePairs<String, String>
    }

    private static func x(_ count: Int) -> String { String(repeating: "x", count: count) }

    static let models = [
      Names(
        testDescription: "ordinary names are their own paths",
        pairs: [
          "lm_head.weight": "lm_head.weight", "a/b/c": "a/b/c", "a/b/d": "a/b/d", "a/e": "a/e",
          "bert/encoder/kernel:0": "bert/encoder/kernel:0", " spaces ": " spaces ", "-rf": "-rf",
          "*?[": "*?[",
          "quote'\"": "quote'\"", "back\\slash": "back\\slash", "~": "~", "...": "...", ".hidden": ".hidden",
          "重み": "重み", "🦀/🐍": "🦀/🐍", "rtl\u{202E}txt": "rtl\u{202E}txt", "A": "A", "c1\u{85}": "c1\u{85}",
        ]),
      Names(
        testDescription: "what a path cannot say is percent-encoded",
        pairs: [
          "x%y": "x%25y", "x%25y": "x%2525y", "tab\t": "tab%09", "line\nfeed": "line%0Afeed",
          "nul\0": "nul%00",
          "esc\u{1B}[0m": "esc%1B[0m", "del\u{7F}": "del%7F", "unit\u{1F}": "unit%1F",
        ]),
      Names(
        testDescription: "the components . and .. are encoded",
        pairs: [
          "../../etc/passwd": "%2E%2E/%2E%2E/etc/passwd", "./w": "%2E/w", "d/../e": "d/%2E%2E/e",
          "d/./e": "d/%2E/e",
          "f/..": "f/%2E%2E", "f/.": "f/%2E",
        ]),
      Names(
        testDescription: "the names . and .. are encoded, but not in what goes on after them",
        pairs: [".": "%2E", "..": "%2E%2E", "../../w": "..%2F../w", "./w": ".%2Fw"]),
      Names(
        testDescription: "an empty component is a bare %",
        pairs: [
          "/absolute": "%/absolute", "mid//dle": "mid/%/dle", "trailing/": "trailing/%", "//": "%/%/%",
          "%": "%25",
        ]),
      Names(testDescription: "an empty name is a bare %", pairs: ["": "%", "other": "other"]),
      Names(
        testDescription: "no tensor takes metadata.json's place",
        pairs: [
          "metadata.json": "metadata%2Ejson", "metadata.json/x": "metadata.json%2Fx",
          "sub/metadata.json": "sub/metadata.json", "metadata.jsonl": "metadata.jsonl",
        ]),
      Names(
        testDescription: "no tensor takes a view directory's place",
        pairs: [
          ".npy/w": "%2Enpy/w", ".f32": "%2Ef32",
          ".safetensors/w.safetensors": "%2Esafetensors/w.safetensors",
          "deep/.npy": "deep/.npy", ".npyx": ".npyx", ".npy2/w": ".npy2/w",
        ]),
      Names(
        testDescription: "a tensor that begins another's name is a file, and the other's / is encoded",
        pairs: [
          "a": "a", "a/b": "a%2Fb", "a/b/c": "a%2Fb%2Fc", "a/d/e": "a%2Fd/e", "ab/c": "ab/c", "a.b": "a.b",
          "p/q": "p/q", "p/q/r": "p/q%2Fr",
        ]),
      Names(
        testDescription: "é composed and é decomposed are two tensors",
        pairs: ["caf\u{E9}": "caf\u{E9}", "cafe\u{301}": "cafe\u{301}"]),
      Names(
        testDescription: "a component of 255 bytes still fits",
        pairs: [x(255): x(255), "d/\(x(255))": "d/\(x(255))"]),
    ]

    @Test("Each name has its path, and the mount has no other files", arguments: models)
    func paths(names: Names) async throws {
      let tensors = names.pairs.map { SafetensorsFile.Tensor($0.key, "U8", [9]) }
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile(tensors.reversed()))
      try await withMount(source) { mount in
        let walk = try Walk(mount.path)
        expectSamePaths(walk.files, names.pairs.map { FilePath($0.value) } + ["metadata.json"])
        for (tensor, pair) in zip(tensors, names.pairs) {
          expectSame(try mount.bytes(pair.value), tensor.data, pair.value)
        }
      }
    }

    @Test("A component of more than 255 bytes is cut on a character and ends in a hash of the whole name")
    func longComponents() async throws {
      let wide = String(repeating: "é", count: 150)
      let directory = try TemporaryDirectory()
      // 255 bytes minus `%~` and 16 digits are 237. é has two bytes, and %09 has three.
      let cuts: KeyValuePairs<String, String> = [
        Self.x(300): Self.x(237), Self.x(299) + "y": Self.x(237), wide: String(repeating: "é", count: 118),
        Self.x(236) + "\t" + Self.x(60): Self.x(236), Self.x(256): Self.x(237), Self.x(100_000): Self.x(237),
      ]
      var expected: [(path: String, tensor: SafetensorsFile.Tensor)] = []
      func expect(_ name: String, at cut: String, _ rest: String = "") async throws {
        let file = try directory.write("name", text: name)
        let digest = try await Command.output(of: "sha256sum", "\(file)").prefix(16)
        expected.append((cut + "%~" + digest + rest, .init(name, "U8", [7])))
      }
      for (name, cut) in cuts {
        try await expect(name, at: cut)
        try await expect("layer/" + name, at: "layer/" + cut)
        // The `/` follows the whole name of another tensor, so this name is one component too.
        try await expect(name + "/w", at: cut)
      }
      try await expect(
        String(repeating: "z", count: 300) + "/w", at: String(repeating: "z", count: 237), "/w")
      let source = try directory.write("m.safetensors", SafetensorsFile(expected.map(\.tensor)))
      try await withMount(source) { mount in
        let walk = try Walk(mount.path)
        expectSamePaths(walk.files, expected.map { FilePath($0.path) } + ["metadata.json"])
        for (path, tensor) in expected { expectSame(try mount.bytes(path), tensor.data, path) }
      }
    }

    @Test("A missing name is not found, by any system call")
    func missingNames() async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile(.init("a/b", "U8", [3])))
      try await withMount(source) { mount in
        for name in ["x", "a/x", "A", "a/B", "b", "%", "a%2Fb", "a/b ", "metadata", Self.x(255)] {
          // Tries twice, since the kernel caches missing names.
          for _ in 0..<2 {
            #expect(throws: Errno.noSuchFileOrDirectory, "\(name)") { try OpenFile(mount.file(name)) }
          }
        }
        for count in [256, 1000] {
          #expect(throws: Errno.fileNameTooLong) { try OpenFile(mount.file(Self.x(count))) }
        }
        #expect(throws: Errno.notDirectory) { try OpenFile(mount.file("a/b/c")) }
        #expect(throws: Errno.notDirectory) { try OpenFile(mount.file("metadata.json/x")) }
        #expect(throws: Errno.isDirectory) { try OpenFile(mount.file("a")).bytes() }
      }
    }
  }
}
