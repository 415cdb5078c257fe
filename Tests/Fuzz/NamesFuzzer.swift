import Conformance
import Fixtures
import SystemPackage

@testable import Models
@testable import Safetensors
@testable import TensorFiles

/// The paths of a set of names, their tree, and the names in every view. Bytes of 255 separate the names of an input.
enum NamesFuzzer: FuzzTarget {
  private static let divider: UInt8 = 0xFF

  static var seeds: [[UInt8]] {
    let long = String(repeating: "x", count: 255)
    let sets: [[String]] = [
      ["a", "a/b", "a/b/c"], ["b", "a/y/2", "a/x"], [".", "..", "", "/", "//"],
      ["metadata.json/a", "metadata.json"],
      [".npy/a", "a.npy", "a", ".f32", ".safetensors"], ["a.npy/b", "a%2Enpy/b"],
      ["%", "%25", "a\0b", "é", "e\u{301}"],
      [long, long + "x", long + "/b"], [long + ".npy/a", "d/" + String(long.dropLast(4)) + ".npy/c"],
      ["model.layers.0.mlp.weight", "model.layers.0.mlp.weight/scale"],
    ]
    return sets.map { $0.map { Array($0.utf8) }.joined(separator: [divider]).map(\.self) }
  }

  static var words: [String] {
    ["/", "..", "%2F", "%2E", "%~0123456789abcdef", "metadata.json", ".npy", ".f32", ".safetensors"]
      + [251, 255, 256].map { String(repeating: "x", count: $0) }
  }

  static func test(_ input: [UInt8]) {
    let parts = input.split(separator: divider, omittingEmptySubsequences: false)
    let names = Set(parts.map { Array(String(decoding: $0, as: UTF8.self).utf8) })
    let file = SafetensorsFile(names.map { SafetensorsFile.Tensor(name: $0, "U8", [0]) }).bytes
    do {
      let collection = try ModelCollection(opening: [ScratchFile.write(file, size: file.count)])
      guard let model = collection.components.first?.model else { fatalError("there is no model") }
      require(
        model.places.count == names.count, "there are \(model.places.count) tensors of \(names.count) names")
      let tree = try ViewedTree(TreeBuilder.tree(of: collection), models: [model])
      checkPaths(model, tree)
      for view in View.all { checkNames(tree, view) }
    } catch {
      fatalError("a model of these names is refused: \(error)")
    }
  }

  /// Requires that each tensor is found by its path, once, and that the path decodes to its name.
  private static func checkPaths(_ model: Model, _ tree: ViewedTree) {
    var encoder = PathEncoder()
    var found: Set<Int> = []
    for (index, place) in model.places.enumerated() {
      let name = model.name(at: place)
      let path = encoder.encode(name).bytes
      let position = tree.position(of: path)
      require(
        position.map { tree.tree.nodes[$0] }.map { $0.kind == .tensor && Int($0.first) == index } == true,
        "\(name) is not where its path says")
      guard let position else { return }
      require(found.insert(position).inserted, "\(name) shares its file with another")
      checkDecoding(path, name, PathDecoder.name)
      let viewed = tree.path(of: position, in: .npy)
      require(viewed.suffix(View.npy.suffix.count).elementsEqual(View.npy.suffix), "an array has no ending")
      checkDecoding(viewed, name, NPYDirectory.name)
    }
    require(found.count == tree.tree.nodes.count { $0.kind == .tensor }, "there are more files than tensors")
  }

  private static func checkDecoding(
    _ path: [UInt8], _ name: TensorName, _ decode: ([UInt8]) throws(PathDecoder.Problem) -> TensorName
  ) {
    do throws(PathDecoder.Problem) {
      require(try decode(path) == name, "\(PrintableText.quoted(path)) does not decode to \(name)")
    } catch {
      requirePrintable(error.problem)
      let isCut = path.indices.contains { path[$0...].starts(with: "%~".utf8) }
      require(isCut, "\(PrintableText.quoted(path)) tells no name: \(error.problem)")
    }
  }

  /// Requires that Linux allows every component, and that it leads to its node only.
  private static func checkNames(_ tree: ViewedTree, _ view: View) {
    for (position, node) in tree.tree.nodes.enumerated().dropFirst()
    where node.kind != .metadata || view.number == View.raw.number {
      let entry = ViewedTree.Entry(position: position, view: view, isInComponent: false)
      let name = Array(tree.name(of: entry))
      let shown = PrintableText.quoted(name)
      require((1...255).contains(name.count), "\(shown) is too short or too long")
      require(!name.elementsEqual(".".utf8) && !name.elementsEqual("..".utf8), "a file is called \(shown)")
      require(
        !name.contains(UInt8(ascii: "/")) && name.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "as \(shown)")
      require(String(validating: name, as: UTF8.self) != nil, "\(shown) is not UTF-8")
      let parent = tree.parent(of: entry)
      let found = tree.child(
        name.span, of: view.number == View.raw.number ? parent : parent.at(Int(node.parent), view))
      require(
        found?.position == position, "\(shown) leads to another node in the view of number \(view.number)")
      require(tree.entry(inode: entry.inode)?.position == position, "\(shown) has another's inode")
    }
  }
}

extension ViewedTree.Entry {
  /// A directory in a view; also if it is the view's own directory.
  fileprivate func at(_ position: Int, _ view: View) -> Self {
    Self(position: position, view: view, isInComponent: false)
  }
}

extension ViewedTree {
  /// The node of a path below the root, looked up component by component as the kernel does.
  fileprivate func position(of path: [UInt8]) -> Int? {
    path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).reduce(0) {
      position, component in
      position.flatMap { tree.child(Array(component).span, of: tree.nodes[$0]) }
    }
  }

  /// The path of a node below a view's directory.
  fileprivate func path(of position: Int, in view: View) -> [UInt8] {
    var components: [[UInt8]] = []
    var position = position
    while position != 0 {
      components.append(
        Array(name(of: Entry(position: position, view: view, isInComponent: false))))
      position = Int(tree.nodes[position].parent)
    }
    return Array(components.reversed().joined(separator: [UInt8(ascii: "/")]))
  }
}
