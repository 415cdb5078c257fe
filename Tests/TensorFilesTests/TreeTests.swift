import Fixtures
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("The tree of names") struct TreeTests {
  /// Errors in the links of the tree, one line each.
  private func problems(of tree: Tree) -> [String] {
    var problems: [String] = []
    var parents: [Int?] = Array(repeating: nil, count: tree.nodes.count)
    if tree.nodes.first?.parent != 0 { problems.append("the root is not in itself") }
    for (position, node) in tree.nodes.enumerated() where node.kind == .directory {
      let children = Int(node.first)..<Int(node.first) + Int(node.count)
      guard children.upperBound <= tree.nodes.count else {
        problems.append("\(position) has children past the end")
        continue
      }
      for child in children {
        if parents[child] != nil { problems.append("\(child) is in two directories") }
        parents[child] = position
        if Int(tree.nodes[child].parent) != position { problems.append("\(child) does not know its parent") }
        if tree.child(Array(tree.name(of: tree.nodes[child])).span, of: node) != child {
          problems.append("\(child) is not found in \(position)")
        }
      }
      let names = children.map { tree.name(of: tree.nodes[$0]) }
      if zip(names, names.dropFirst()).contains(where: { !$0.lexicographicallyPrecedes($1) }) {
        problems.append("\(position) is not sorted")
      }
      let directories = children.count { tree.nodes[$0].kind == .directory }
      if directories != Int(node.directories) { problems.append("\(position) miscounts its directories") }
    }
    for position in parents.indices.dropFirst() where parents[position] == nil {
      problems.append("\(position) is nowhere")
    }
    return problems
  }

  @Test("A node takes 32 bytes")
  func nodeSize() {
    #expect(MemoryLayout<Tree.Node>.stride == 32)
  }

  @Test("Files and directories are found at the paths of their names")
  func small() throws {
    let sample = try SampleModel(names: ["b", "a/y/2", "a/x", "a/y/1", "a.b", "c/d/e"])
    let tree = try sample.tree
    #expect(problems(of: tree) == [])
    #expect(tree.list(0) == ["a", "a.b", "b", "c", "metadata.json"])
    #expect(tree.list(try #require(tree.position(of: "a"))) == ["x", "y"])
    #expect(tree.list(try #require(tree.position(of: "a/y"))) == ["1", "2"])
    #expect(tree.list(try #require(tree.position(of: "c/d"))) == ["e"])
    #expect(tree.nodes.count == 12)
    #expect(tree.nodes[0].directories == 2)
    #expect(tree.position(of: "metadata.json").map { tree.nodes[$0].kind } == .metadata)
  }

  @Test("A missing name is not found")
  func missing() throws {
    let tree = try SampleModel(names: ["b", "a/y", "d"]).tree
    let paths = [
      "", "a/", "a/x", "a/z", "c", "e", "bb", "\0", "B", "metadata.jso", "metadata.json2", ".", "..",
    ]
    for path in paths {
      #expect(tree.position(of: path) == nil, "\(path)")
    }
    #expect(tree.child(Array(repeating: 0x62, count: 300).span, of: tree.nodes[0]) == nil)
    #expect(tree.child([0xFF].span, of: tree.nodes[0]) == nil)
  }

  @Test("Every tensor's node leads to that tensor")
  func places() throws {
    let names = ["b", "a", "a/b", "", "x/", "metadata.json", "..", String(repeating: "é", count: 200)]
    let sample = try SampleModel(names: names)
    let model = try sample.model
    let tree = try sample.tree
    let bytes = names.map { Array($0.utf8) }
    var found: Set<[UInt8]> = []
    for (name, path) in PathEncoder.paths(of: bytes) {
      let node = tree.nodes[try #require(tree.position(of: path))]
      try #require(node.kind == .tensor)
      #expect(Array(model.name(at: model.places[Int(node.first)]).utf8) == name)
      found.insert(name)
    }
    #expect(found.count == names.count)
    #expect(problems(of: tree) == [])
  }

  @Test("Hostile names make valid trees, and every path leads to a file")
  func hostile() throws {
    for seed in 0..<20 as Range<UInt64> {
      let names = HostileNames.names(seed: seed)
      let sample = try SampleModel(SafetensorsFile(names.map { .init(name: $0, "U8", [0]) }))
      let tree = try sample.tree
      #expect(problems(of: tree) == [], "seed \(seed)")
      let kinds = PathEncoder.paths(of: names).map { tree.position(of: $0.path).map { tree.nodes[$0].kind } }
      #expect(kinds.allSatisfy { $0 == .tensor }, "seed \(seed)")
      #expect(tree.nodes.count { $0.kind == .tensor } == names.count, "seed \(seed)")
    }
  }

  @Test("Inode numbers depend only on the names, not on their order in the file")
  func stable() throws {
    let names = HostileNames.names(seed: 1)
    var generator = SeededGenerator(seed: 2)
    func nodes(_ names: [[UInt8]]) throws -> [String] {
      let sample = try SampleModel(SafetensorsFile(names.map { .init(name: $0, "U8", [1]) }))
      let tree = try sample.tree
      return tree.nodes.map { "\(Array(tree.name(of: $0))) \($0.kind) \($0.parent) \($0.first) \($0.count)" }
    }
    let first = try nodes(names)
    #expect(try nodes(names.shuffled(using: &generator)) == first)
    #expect(try nodes(names.reversed()) == first)
  }

  @Test("A model without tensors is a directory with metadata.json")
  func empty() throws {
    let tree = try SampleModel(SafetensorsFile()).tree
    #expect(tree.list(0) == ["metadata.json"])
    #expect(problems(of: tree) == [])
  }

  @Test("Ranks are directories, each with its own metadata.json and the same names")
  func ranks() throws {
    let file = SafetensorsFile(.init("a/b", "U8", [1]), .init("c", "U8", [1]))
    let names = (0..<11).map { "rank\($0).safetensors" }
    let sample = try SampleModel(names.map { ($0, file) }, asDirectory: true)
    let tree = try sample.tree
    #expect(problems(of: tree) == [])
    #expect(
      tree.list(0)
        == [
          "rank0", "rank1", "rank10", "rank2", "rank3", "rank4", "rank5", "rank6", "rank7", "rank8", "rank9",
        ])
    #expect(tree.nodes[0].model == Tree.noModel)
    for (index, component) in sample.collection.components.enumerated() {
      let root = try #require(tree.position(of: component.name ?? []))
      #expect(tree.list(root) == ["a", "c", "metadata.json"])
      let tensor = try #require(tree.position(of: (component.name ?? []) + Array("/a/b".utf8)))
      for position in [root, tensor, Int(tree.nodes[tensor].parent)] {
        #expect(tree.nodes[position].model == UInt32(index))
      }
    }
  }

  @Test("A pipeline's components are directories, named by the rules for names")
  func pipeline() throws {
    let file = SafetensorsFile(.init("w", "U8", [1]))
    let directory = try TemporaryDirectory()
    try directory.write("model_index.json", text: "{}")
    for name in ["unet", "vae", "100%"] { try directory.write("\(name)/model.safetensors", file) }
    let tree = try TreeBuilder.tree(of: ModelCollection(opening: [directory.path]))
    #expect(problems(of: tree) == [])
    #expect(tree.list(0) == ["100%25", "unet", "vae"])
    #expect(tree.list(try #require(tree.position(of: "vae"))) == ["metadata.json", "w"])
  }

  @Test("Two names with the same path are refused, and so are a file and a directory with the same path")
  func collision() throws {
    for kind in [Tree.Kind.tensor, .directory] {
      var builder = TreeBuilder()
      let root = builder.append([], .directory, in: 0, model: 0)
      let inner = builder.append(Array("d".utf8), .directory, in: root, model: 0)
      builder.append(Array("x\u{1B}".utf8), .tensor, in: inner, model: 0)
      builder.append(Array("x".utf8), kind, in: root, model: 0)
      _ = try builder.finish()
      builder.append(Array("x\u{1B}".utf8), kind, in: inner, model: 0)
      let error = #expect(throws: NamesError.self) { try builder.finish() }
      #expect(error == .collision(component: Array("x\u{1B}".utf8)))
      #expect(
        error?.description
          == #"two tensors would both be the file 'x\u{1b}': their names are too long for a file name, "#
          + "begin alike and have the same hash")
    }
  }

  @Test("A tree of 100,000 directories is made, and one of more than 1,048,576 is refused")
  func directories() throws {
    func tree(slashes: Int) throws -> Tree {
      let name = "w" + String(repeating: "/w", count: slashes)
      return try SampleModel(SafetensorsFile([.init("v/w", "U8", [0]), .init(name, "U8", [0])])).tree
    }
    let deep = try tree(slashes: 100_000)
    #expect(deep.nodes.count { $0.kind == .directory } == 1 + 100_001)
    let error = #expect(throws: NamesError.self) { try tree(slashes: 1_048_576) }
    let message = error?.description ?? "none"
    #expect(
      message.hasPrefix("the names up to tensor 'w/w/w/") && message.contains("more than 1048576 directories")
    )
    #expect(message.count < 500)
  }

  @Test("100,000 names are all found")
  func large() throws {
    let count = 100_000
    var header = "{"
    for index in 0..<count {
      header += index == 0 ? "" : ","
      header += #""layers/\#(index % 97)/\#(index)":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#
    }
    let tree = try SampleModel(SafetensorsFile(header: header + "}")).tree
    #expect(tree.nodes.count == 1 + 1 + 1 + 97 + count)
    #expect(tree.nodes.count { $0.kind == .tensor } == count)
    let missing = stride(from: 0, to: count, by: 41).filter {
      tree.position(of: "layers/\($0 % 97)/\($0)") == nil
    }
    #expect(missing == [])
    #expect(tree.position(of: "layers/0/1") == nil)
    #expect(tree.position(of: "layers/\(count % 97)/\(count)") == nil)
  }
}
