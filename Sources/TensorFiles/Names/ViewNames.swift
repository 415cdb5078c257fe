package import Models
internal import Safetensors

/// The names of the tree's nodes in a view.
///
/// A file has its name in the tree, followed by the view's suffix. If a directory's name ends in that suffix, the
/// suffix's dot is encoded there, so that no directory can have a file's name. A name that becomes longer than
/// NAME_MAX is cut as in the tree: a file's with the hash of the tensor's name, a directory's with the hash of its
/// name in the tree.
package struct ViewNames: Sendable {
  /// A directory, and the hash in a name in it.
  private struct Key: Hashable {
    let directory: UInt32
    let hash: ArraySlice<UInt8>
  }

  private let tree: Tree
  /// The hashes of nodes whose names some view cuts, and the nodes of these hashes.
  private let hashes: [Int: [UInt8]]
  private let positions: [Key: Int]

  /// Takes time linear in the tree. Two nodes of one directory with the same hash are refused.
  package init(_ tree: Tree, models: [Model]) throws(NamesError) {
    self.tree = tree
    var hashes: [Int: [UInt8]] = [:]
    var positions: [Key: Int] = [:]
    for (position, node) in tree.nodes.enumerated() {
      let name = tree.name(of: node)
      guard
        View.inDirectories.contains(where: { Self.uncut(name, node.kind, $0).count > CutName.maximumCount })
      else { continue }
      let hash: [UInt8]
      if node.kind == .tensor {
        // A name that the tree has cut has the hash already: `%~` is in no other name.
        let tensor = models[Int(node.model)].name(at: models[Int(node.model)].places[Int(node.first)])
        hash = CutName.hash(in: name) ?? CutName.hash(of: tensor.utf8)
      } else {
        hash = CutName.hash(of: name)
      }
      hashes[position] = hash
      let former = positions.updateValue(position, forKey: Key(directory: node.parent, hash: hash[...]))
      if former != nil { throw .collision(component: Array(name)) }
    }
    self.hashes = hashes
    self.positions = positions
  }

  /// The name of a node in a view, one path component.
  package func name(of position: Int, in view: View) -> ArraySlice<UInt8> {
    let node = tree.nodes[position]
    let uncut = Self.uncut(tree.name(of: node), node.kind, view)
    guard uncut.count > CutName.maximumCount, let hash = hashes[position] else { return uncut }
    let suffix = node.kind == .directory ? [] : view.suffix
    return CutName.cut(uncut, hash: hash, suffix: suffix)
  }

  /// The position of the child of this name in a view, or nil.
  package func child(_ name: Span<UInt8>, of directory: Int, in view: View) -> Int? {
    let node = tree.nodes[directory]
    if view.suffix.isEmpty { return tree.child(name, of: node) }
    let name = ArraySlice(unsafe name.withUnsafeBufferPointer { unsafe Array($0) })
    let isFile = name.hasSuffix(view.suffix)
    let stem = isFile ? name.dropLast(view.suffix.count) : name
    // Find the candidate by its name in the tree, then check that the node has this name here.
    let encodedDot = Self.encodedDot(view)
    let hasEncodedDot = !isFile && stem.hasSuffix(encodedDot)
    let withDot = hasEncodedDot ? stem.dropLast(encodedDot.count) + view.suffix : stem
    for candidate in [
      tree.child(stem.span, of: node),
      hasEncodedDot ? tree.child(withDot.span, of: node) : nil,
      positions[Key(directory: UInt32(directory), hash: (CutName.hash(in: stem) ?? [])[...])],
    ] {
      if let candidate, self.name(of: candidate, in: view) == name { return candidate }
    }
    return nil
  }

  /// The name in a view, before it is cut.
  private static func uncut(_ name: ArraySlice<UInt8>, _ kind: Tree.Kind, _ view: View) -> ArraySlice<UInt8> {
    guard kind == .directory else { return view.suffix.isEmpty ? name : name + view.suffix }
    guard !view.suffix.isEmpty, name.hasSuffix(view.suffix) else { return name }
    return name.dropLast(view.suffix.count) + encodedDot(view)
  }

  /// The view's suffix with its dot encoded.
  private static func encodedDot(_ view: View) -> [UInt8] { Array("%2E".utf8) + view.suffix.dropFirst() }
}

extension ArraySlice<UInt8> {
  fileprivate func hasSuffix(_ suffix: [UInt8]) -> Bool { self.suffix(suffix.count).elementsEqual(suffix) }
}
