import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Encoding names") struct PathEncoderTests {
  /// The paths of a set of names, by name.
  private func paths(_ names: String...) -> [String: String] {
    let pairs = PathEncoder.paths(of: names.map { Array($0.utf8) }).map { name, path in
      (String(decoding: name, as: UTF8.self), String(decoding: path, as: UTF8.self))
    }
    return Dictionary(uniqueKeysWithValues: pairs)
  }

  private func path(_ name: String) -> String? { paths(name)[name] }

  @Test(
    "An ordinary name is its own path",
    arguments: [
      "lm_head.weight", "bert/encoder/kernel:0", "model.layers.0.mlp.experts.127.down_proj.weight", "a",
      "with space", "-rf", "~", "a/b/c/d/e/f", "é", "e\u{301}", "日本語/テンソル", "😀", "a\\b", "*?[]'\"$`", "...",
      "....", "a.", ".a", "a/.npy", "x/metadata.json", "metadata.jsonl", "metadata.json2/x", ".npyx",
      ".npy2/a",
      ".NPY/a", "a..b", "..a", "CON", "\u{85}", "\u{202E}", "\u{FFFF}", "\u{A0}",
    ])
  func ordinary(name: String) {
    #expect(path(name) == name)
  }

  @Test(
    "Characters that a path cannot contain are percent-encoded",
    arguments: [
      ("\0", "%00"), ("a\nb", "a%0Ab"), ("\u{1B}[31m", "%1B[31m"), ("\u{1F}", "%1F"), ("\u{7F}", "%7F"),
      ("100%", "100%25"), ("%", "%25"), ("%25", "%2525"), ("a%2Fb", "a%252Fb"),
      ("x%~0123456789abcdef", "x%25~0123456789abcdef"),
      (".", "%2E"), ("..", "%2E%2E"), ("a/./b", "a/%2E/b"), ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
      ("", "%"), ("/", "%/%"), ("/a", "%/a"), ("a/", "a/%"), ("a//b", "a/%/b"), ("///", "%/%/%/%"),
      ("metadata.json", "metadata%2Ejson"), ("metadata.json/a", "metadata.json%2Fa"),
      ("metadata.json/", "metadata.json%2F"), ("metadata.json/a/b", "metadata.json%2Fa/b"),
      (".npy", "%2Enpy"), (".f32", "%2Ef32"), (".safetensors", "%2Esafetensors"), (".dequant", "%2Edequant"),
      (".npy/a", "%2Enpy/a"), (".f32/.f32", "%2Ef32/.f32"), (".safetensors/", "%2Esafetensors/%"),
    ])
  func encoded(name: String, path: String) {
    #expect(self.path(name) == path)
  }

  @Test("A slash after another tensor's whole name is encoded into the file name")
  func prefixes() {
    #expect(paths("a", "a/b") == ["a": "a", "a/b": "a%2Fb"])
    #expect(paths("a", "a/b/c") == ["a": "a", "a/b/c": "a%2Fb/c"])
    #expect(
      paths("a", "a/b", "a/b/c", "a/bc/d", "b/a/b")
        == [
          "a": "a", "a/b": "a%2Fb", "a/b/c": "a%2Fb%2Fc", "a/bc/d": "a%2Fbc/d", "b/a/b": "b/a/b",
        ])
    #expect(paths("", "/a", "//a") == ["": "%", "/a": "%2Fa", "//a": "%2F/a"])
    #expect(paths("a", "a/", "a//") == ["a": "a", "a/": "a%2F", "a//": "a%2F%2F"])
    #expect(paths("a", "ab/c", "a.b/c") == ["a": "a", "ab/c": "ab/c", "a.b/c": "a.b/c"])
    #expect(paths(".", "./a") == [".": "%2E", "./a": ".%2Fa"])
    #expect(paths(".npy", ".npy/a") == [".npy": "%2Enpy", ".npy/a": ".npy%2Fa"])
    #expect(
      paths("metadata.json", "metadata.json/a", "metadata.json/a/b")
        == [
          "metadata.json": "metadata%2Ejson", "metadata.json/a": "metadata.json%2Fa",
          "metadata.json/a/b": "metadata.json%2Fa%2Fb",
        ])
    #expect(
      paths("m", "metadata.json/a", "metadata.json!/b")
        == ["m": "m", "metadata.json/a": "metadata.json%2Fa", "metadata.json!/b": "metadata.json!/b"])
  }

  @Test("A component of 255 bytes is kept, and a longer one is cut and ends in the name's hash")
  func cut() {
    let longest = String(repeating: "x", count: 255)
    #expect(path(longest) == longest)
    #expect(path("a/" + longest + "/b") == "a/" + longest + "/b")
    // printf "x%.0s" {1..256} | sha256sum
    let expected = String(repeating: "x", count: 237) + "%~85e62acd750c4eb5"
    #expect(path(longest + "x") == expected)
    #expect(expected.utf8.count == 255)
  }

  @Test("A component is never cut inside a character or an escape")
  func cutBoundary() throws {
    for (unit, encodedUnit) in [("é", "é"), ("語", "語"), ("😀", "😀"), ("%", "%25"), ("\n", "%0A")] {
      for lead in 0..<4 {
        let name = String(repeating: "x", count: lead) + String(repeating: unit, count: 300)
        let path = try #require(self.path(name))
        let kept = path.utf8.count - 18
        #expect(path.utf8.count <= 255 && kept + encodedUnit.utf8.count > 237)
        let whole = String(repeating: "x", count: lead) + String(repeating: encodedUnit, count: 300)
        #expect(whole.utf8.starts(with: path.utf8.prefix(kept)))
        #expect((kept - lead) % encodedUnit.utf8.count == 0)
      }
    }
  }

  @Test("Long names with a common prefix get different paths")
  func cutApart() {
    let long = String(repeating: "x", count: 300)
    let paths = paths(long + "1", long + "2", long + "/a", long + "/b", "d/" + long, "d/" + long + "/c")
    #expect(Set(paths.values).count == 6)
    #expect(paths["d/" + long + "/c"]?.split(separator: "/").count == 2, "its prefix is a file")
  }

  @Test("Names of directories are encoded by the same rules, and keep bytes that are not UTF-8")
  func directories() {
    for (name, path) in [("vae", "vae"), (".npy", "%2Enpy"), ("a%b\n", "a%25b%0A")] {
      #expect(PathEncoder.encodeDirectory(Array(name.utf8)) == Array(path.utf8))
    }
    #expect(PathEncoder.encodeDirectory([0x61, 0xFF, 0xC3]) == [0x61, 0xFF, 0xC3])
    let cut = PathEncoder.encodeDirectory([UInt8](repeating: 0x01, count: 255))
    #expect(cut.count == 255 && cut.starts(with: "%01%01".utf8))
  }

  @Test("Encoding a name of 1,000,000 components takes time linear in its length")
  func manyComponents() {
    let name = Array(repeatElement("ab/", count: 1_000_000).joined().utf8)
    let path = PathEncoder.paths(of: [name]).first?.path
    #expect(path == name + [UInt8(ascii: "%")])
  }

  @Test("A name with many cut components is hashed once")
  func manyCuts() {
    let component = [UInt8](repeating: UInt8(ascii: "x"), count: 256)
    let name = Array(repeatElement(component, count: 4000).joined(separator: [UInt8(ascii: "/")]))
    let path = PathEncoder.paths(of: [name]).first?.path
    #expect(path?.count == 4000 * 256 - 1)
    #expect(Set(path?.split(separator: UInt8(ascii: "/")) ?? []).count == 1)
  }

  @Test("Encoding 1,000 names, each a prefix of the next, takes time linear in their length")
  func manyPrefixes() {
    var encoder = PathEncoder()
    let text = Array(repeatElement("/", count: 1000).joined().utf8)
    var isAsExpected = true
    for count in 0..<1000 {
      let path = encoder.encode(TensorName(utf8: text[..<count])).bytes
      // Every slash follows the name of a file, so this name is one component, which is cut when it exceeds 255 bytes.
      isAsExpected = isAsExpected && path.count == (count == 0 ? 1 : count <= 85 ? 3 * count : 255)
    }
    #expect(isAsExpected)
  }
}
