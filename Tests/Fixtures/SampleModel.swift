internal import SystemPackage
package import Models
package import TensorFiles

/// The files of a test, and the result of opening them.
package struct SampleModel {
  package let directory: TemporaryDirectory
  package let collection: ModelCollection

  /// A model of one file, `model.safetensors`.
  package init(_ file: SafetensorsFile) throws { try self.init([("model.safetensors", file)]) }

  /// A model of one file with tensors of these names, one byte each.
  package init(names: [String]) throws {
    try self.init(SafetensorsFile(names.map { SafetensorsFile.Tensor($0, "U8", [1]) }))
  }

  /// The result of opening a directory of these files. `open` opens the files, or the directory itself.
  package init(_ files: [(name: String, file: SafetensorsFile)], asDirectory: Bool = false) throws {
    directory = try TemporaryDirectory()
    var paths: [FilePath] = []
    for (name, file) in files { paths.append(try directory.write(name, file)) }
    collection = try ModelCollection(opening: asDirectory ? [directory.path] : paths)
  }

  /// The only model.
  package var model: Model {
    get throws(Unexpected) {
      guard collection.components.count == 1 else { throw Unexpected() }
      return collection.components[0].model
    }
  }

  /// The models, if there are several.
  package struct Unexpected: Error {}

  /// The tree of its names.
  package var tree: Tree { get throws { try TreeBuilder.tree(of: collection) } }
}

extension Tree {
  /// The position of a path below the root, looked up component by component as the kernel does.
  package func position(of path: [UInt8]) -> Int? {
    var position = 0
    for component in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
      guard let child = child(Array(component).span, of: nodes[position]) else { return nil }
      position = child
    }
    return position
  }

  /// The position of a path below the root.
  package func position(of path: String) -> Int? { position(of: Array(path.utf8)) }

  /// The names in a directory, in the order in which they are listed.
  package func list(_ position: Int) -> [String] {
    let node = nodes[position]
    return (Int(node.first)..<Int(node.first) + Int(node.count)).map {
      String(decoding: name(of: nodes[$0]), as: UTF8.self)
    }
  }
}
