import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Files that are not models") struct ForeignFileTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func problem(_ bytes: [UInt8], _ name: String = "model.safetensors") throws -> String {
    let path = try directory.write(name, bytes)
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
    #expect(error?.kind == .malformed)
    return error?.problem ?? ""
  }

  @Test(
    "A text file is identified and quoted, whatever header length its first bytes give",
    arguments: [
      "Invalid username or password.", "404", "Entry not found",
      "Access to model is restricted.\nPlease log in.",
      "layers:\n  - a\n", "import torch\n", "Ungültiger Zugriff: melden Sie sich an",
    ])
  func text(_ text: String) throws {
    let problem = try problem(Array(text.utf8))
    #expect(problem.hasPrefix("this is text, not a model"))
    #expect(problem.hasSuffix("it begins '\(text.prefix { !$0.isNewline })'"))
  }

  @Test(
    "A text file with its own extension is not called a failed download",
    arguments: ["config.json", "README.md", "train.py", "Page.HTML"])
  func namedText(name: String) throws {
    for text in [#"{"model_type":"llama"}"#, "import torch\n", "<!doctype html>"] {
      let problem = try problem(Array(text.utf8), name)
      #expect(problem == "this is text, not a model: name the model's file or directory")
    }
  }

  @Test("A server's error in JSON or XML is quoted, without terminal escapes")
  func serversError() throws {
    #expect(try problem(Array(#"{"error":"Repository not found"}"#.utf8)).contains("Repository not found"))
    #expect(try problem(Array("<Error><Code>AccessDenied</Code></Error>".utf8)).contains("AccessDenied"))
    let long = "no \u{202E}way " + String(repeating: "x", count: 1000)
    #expect(try problem(Array(long.utf8)).contains(#"no \u{202e}way"#))
    #expect(try problem(Array(long.utf8)).utf8.count < 300)
  }

  @Test("A text file whose first read ends inside a character is identified")
  func cutCharacter() throws {
    for pad in 0..<4 {
      let text = String(repeating: "a", count: 508 + pad) + "ééé"
      #expect(try problem(Array(text.utf8)).hasPrefix("this is text"))
    }
  }

  @Test("An empty file, zeros and a tar archive are identified")
  func binaries() throws {
    #expect(try problem([]).hasPrefix("this file is empty"))
    #expect(try problem(Array(repeating: 0, count: 4096)).contains("holds only zeros"))
    var tar = Array(repeating: UInt8(0), count: 1024)
    tar.replaceSubrange(0..<5, with: "w.bin".utf8)
    tar.replaceSubrange(257..<262, with: "ustar".utf8)
    #expect(try problem(tar, "x.nemo").contains("tar archive"))
  }

  @Test("A truncated safetensors file is reported as truncated")
  func truncated() throws {
    let whole = SafetensorsFile(.init("a", "F32", [100])).bytes
    for count in [9, 40, whole.count - 1] {
      #expect(try problem(Array(whole.prefix(count))).hasPrefix("truncated"))
    }
  }

  @Test(
    "A zip archive that is not PyTorch's is identified by its entries",
    arguments: [
      (["w.npy", "b.npy"], "NumPy arrays"), (["metadata.json", "config.json", "model.weights.h5"], "Keras"),
      (["model/model.safetensors", "readme"], "unzip it"), (["notes.txt"], "no data.pkl"),
      (["m/MODEL.Q4.GGUF", "readme"], "unzip it"), (["best.pth.tar"], "unzip it"),
    ])
  func zip(_ names: [String], _ words: String) throws {
    let zip = ZipFile(names.map { ZipFile.Entry($0, "x".utf8) })
    #expect(try problem(zip.bytes, "model.bin").contains(words))
  }

  @Test("An index that is a server's error page says so, and an invalid index names the byte")
  func index() throws {
    let name = "model.safetensors.index.json"
    #expect(try problem(Array("Entry not found".utf8), name).contains("'Entry not found'"))
    #expect(try problem(Array("{".utf8), name).hasPrefix("invalid index at byte 1"))
  }

  @Test(
    "A URL or a Hub name as a source is an error that says what to do",
    arguments: [
      ("https://huggingface.co/gpt2/resolve/main/model.safetensors", "hf download"),
      ("HTTP://host", "curl"), ("hf://gpt2", "hf download"),
      ("s3://bucket/model.safetensors", "rclone"), ("file:///tmp/model", "give the path alone"),
      ("org/name-1.5B", "hf download org/name-1.5B"),
    ])
  func addresses(_ source: String, _ advice: String) {
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [FilePath(source)]) }
    #expect(error?.kind == .noSource)
    #expect(error?.problem.contains(advice) == true)
    // FilePath has removed a slash.
    #expect(error?.description.hasPrefix("'\(source)': ") == true)
  }

  @Test(
    "A missing path is an error without further advice",
    arguments: ["/no/such", "./a/b", "x", "a b/c", "a/b/c", "Tests/none", "x:/y"])
  func paths(_ source: String) {
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [FilePath(source)]) }
    #expect(error?.problem == "cannot open it: No such file or directory")
  }
}
