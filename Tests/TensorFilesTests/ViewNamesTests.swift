import Fixtures
import Logging
import Testing

@testable import Models
@testable import Safetensors
@testable import TensorFiles

@Suite("Names in views") struct ViewNamesTests {
  /// Errors in the names of a model in its views, one line each.
  private func problems(_ names: [[UInt8]]) throws -> [String] {
    let sample = try SampleModel(SafetensorsFile(names.map { SafetensorsFile.Tensor(name: $0, "U8", [1]) }))
    let tree = try sample.tree
    let viewNames = try ViewNames(tree, models: [sample.model])
    var problems: [String] = []
    for view in View.inDirectories {
      for (directory, node) in tree.nodes.enumerated() where node.kind == .directory {
        var seen: Set<[UInt8]> = []
        for child in Int(node.first)..<Int(node.first) + Int(node.count) {
          let kind = tree.nodes[child].kind
          let name = Array(viewNames.name(of: child, in: view))
          let text = String(decoding: name, as: UTF8.self)
          if !seen.insert(name).inserted { problems.append("two are \(text)") }
          if name.count > 255 { problems.append("too long: \(text)") }
          if !text.utf8.elementsEqual(name) { problems.append("no UTF-8: \(name)") }
          if name.isEmpty || name.contains(0) || name.contains(UInt8(ascii: "/")) {
            problems.append("no component: \(text)")
          }
          let hasSuffix = name.suffix(view.suffix.count).elementsEqual(view.suffix)
          if !view.suffix.isEmpty, hasSuffix != (kind != .directory) { problems.append("suffix of \(text)") }
          if viewNames.child(name.span, of: directory, in: view) != child {
            problems.append("not found: \(text)")
          }
        }
        // No other name is found: neither names in the tree nor parts of the names in the view.
        let others: [[[UInt8]]] = seen.map { [$0 + view.suffix + [0x20], Array($0.dropLast()), [0x61] + $0] }
        for name in others.joined() where !seen.contains(name) && !name.isEmpty {
          if let found = viewNames.child(name.span, of: directory, in: view) {
            problems.append("\(String(decoding: name, as: UTF8.self)) leads to \(found)")
          }
        }
      }
    }
    return problems
  }

  @Test(
    "No two entries of a view share a name, whatever the tensors are called",
    arguments: 0..<40 as Range<UInt64>)
  func hostile(seed: UInt64) throws {
    let names = HostileNames.names(seed: seed)
    let found = try problems(names)
    #expect(found == [], "seed \(seed)")
  }

  @Test("Names that become too long are cut, and stay unique", arguments: 0..<40 as Range<UInt64>)
  func long(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let pieces = ["a", "é", "語", "😀", "\n", "%", "."]
    let endings = [
      "", ".npy", ".f32", ".safetensors", "%2Enpy", ".npy.npy", "/.npy/x", ".npy/x", ".safetensors/y",
    ]
    var names: Set<[UInt8]> = []
    for _ in 0..<30 {
      let piece = pieces.randomElement(using: &generator) ?? ""
      let width = piece == "\n" || piece == "%" ? 3 : piece.utf8.count
      var name = String(repeating: "a", count: Int.random(in: 0...3, using: &generator))
      name += String(repeating: piece, count: Int.random(in: 225...260, using: &generator) / width)
      name += String(repeating: "b", count: Int.random(in: 0...3, using: &generator))
      names.insert(Array((name + (endings.randomElement(using: &generator) ?? "")).utf8))
    }
    let found = try problems(Array(names))
    #expect(found == [], "seed \(seed)")
  }

  private func names(_ tensors: [String], in view: View) throws -> [String] {
    let sample = try SampleModel(names: tensors)
    let tree = try sample.tree
    let names = try ViewNames(tree, models: [sample.model])
    let root = tree.nodes[0]
    return (Int(root.first)..<Int(root.first) + Int(root.count)).filter { tree.nodes[$0].kind != .metadata }
      .map {
        String(decoding: names.name(of: $0, in: view), as: UTF8.self)
      }
  }

  @Test("A file in a view has the name of the tensor's file plus the view's suffix")
  func suffixes() throws {
    #expect(try names(["a", "b.npy", "c/d"], in: .npy) == ["a.npy", "b.npy.npy", "c"])
    #expect(try names(["a", "b.npy", "c/d"], in: .f32) == ["a", "b.npy", "c"])
    #expect(try names(["a", "c/d"], in: .safetensors) == ["a.safetensors", "c"])
  }

  @Test("A directory whose name ends in a view's suffix has the dot encoded, in that view only")
  func directories() throws {
    let tensors = ["a", "a.npy/x", "x/.npy/y"]
    #expect(try names(tensors, in: .npy) == ["a.npy", "a%2Enpy", "x"])
    #expect(try names(tensors, in: .f32) == ["a", "a.npy", "x"])
    #expect(try names(tensors, in: .safetensors) == ["a.safetensors", "a.npy", "x"])
  }

  @Test("A name that becomes too long with its suffix ends in a hash of the tensor's name and the suffix")
  func cut() throws {
    let fits = String(repeating: "a", count: 251)
    #expect(try names([fits], in: .npy) == [fits + ".npy"])
    let long = String(repeating: "a", count: 252)
    // printf %s aaa… | sha256sum
    let hash = String(decoding: SHA256.hexPrefix(of: Array(long.utf8)[...], digits: 16), as: UTF8.self)
    #expect(try names([long], in: .npy) == [String(repeating: "a", count: 233) + "%~\(hash).npy"])
    #expect(try names([long], in: .f32) == [long])
    #expect(
      try names([long], in: .safetensors) == [String(repeating: "a", count: 225) + "%~\(hash).safetensors"])
  }

  @Test("A directory's name that becomes too long with its dot encoded ends in a hash of the name")
  func cutDirectory() throws {
    let long = String(repeating: "d", count: 250) + ".npy"
    let hash = String(decoding: SHA256.hexPrefix(of: Array(long.utf8)[...], digits: 16), as: UTF8.self)
    #expect(
      try names([long + "/x", long + "/y"], in: .npy) == [String(repeating: "d", count: 237) + "%~\(hash)"])
    #expect(try names([long + "/x"], in: .f32) == [long])
  }
}
