import Fixtures
import Safetensors
import SystemPackage

@testable import TensorFS

/// Names, one in each line: every tensor has a path of its own, in the tree and in every view, that a file can have.
enum NamesFuzzer: Fuzzer {
  static var seeds: [[UInt8]] {
    [
      "model.layers.0.weight\nmodel.layers.0.bias\nmodel/layers/1", "a\na/b\na/b/c\na%2Fb\n",
      ".\n..\n../x\n/\n//\na/\n/a",
      "metadata.json\nmetadata.json/x\n.npy\n.npy/a.npy\na\n.f32/a\n.safetensors",
      "%\n%25\n%~0123456789abcdef\na/%\n\u{1}\u{7f}\u{202e}é",
      String(repeating: "x", count: 300) + "\n" + String(repeating: "y", count: 254) + "\n"
        + String(repeating: "é/", count: 200),
    ].map { Array($0.utf8) }
  }

  static func read(_ bytes: [UInt8]) {
    let names = Set(
      bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Array.init)
    )
    .filter { String(validating: $0, as: UTF8.self) != nil && !$0.elementsEqual("__metadata__".utf8) }
    .sorted { compareBytes($0[...], $1[...]) < 0 }
    guard let files,
      let path = try? files.write("m", SafetensorsFile(names.map { .init(name: $0, "U8", [0]) })),
      let collection = try? ModelCollection(opening: [path]), let model = collection.components.first?.model
    else { fatalError("a model of some names cannot be opened") }
    guard let tree = try? TreeBuilder.tree(of: collection),
      let viewed = try? ViewedTree(tree, models: [model])
    else { return }

    for index in tree.nodes.indices.dropFirst() {
      for place in viewed.places(of: index) { check(place, in: viewed) }
    }
    var encoder = PathEncoder()
    var found: Set<Int> = []
    for (number, name) in names.enumerated() {
      let path = encoder.encode(TensorName(utf8: name[...])).bytes
      var position = 0
      for component in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
        guard let child = tree.child(Array(component).span, of: tree.nodes[position]) else {
          fatalError("there is no \(PrintableText.quoted(path))")
        }
        position = child
      }
      let node = tree.nodes[position]
      require(
        node.kind == .tensor && Int(node.first) == number, "\(PrintableText.quoted(path)) is another tensor")
      require(found.insert(position).inserted, "\(PrintableText.quoted(path)) is two tensors")
      if let decoded = try? PathDecoder.name(of: path) {
        require(decoded == TensorName(utf8: name[...]), "\(PrintableText.quoted(path)) tells another name")
      }
    }
  }

  private static let files = try? TemporaryDirectory()

  private static func check(_ place: ViewedTree.Place, in viewed: ViewedTree) {
    // What a view does not have is looked up by nobody.
    let name = Array(viewed.name(of: place))
    let text = PrintableText.quoted(name)
    require(
      (1...255).contains(name.count) && String(validating: name, as: UTF8.self) != nil,
      "a file has the name \(text)")
    require(
      name.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") }, "a file has the name \(text)")
    require(!name.elementsEqual(".".utf8) && !name.elementsEqual("..".utf8), "a file has the name \(text)")
    require(
      viewed.child(name.span, of: viewed.parent(of: place))?.position == place.position,
      "\(text) is not found")
    require(viewed.place(place.inode)?.inode == place.inode, "\(text) is not found by its number")
  }
}
