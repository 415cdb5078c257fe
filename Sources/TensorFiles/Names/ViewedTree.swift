package import Models
internal import Safetensors

/// The tree of the mount: the tree of names, and the same tree once more for each view.
///
/// A view takes no memory: its inode numbers are the tree's numbers with the view's number above them.
package struct ViewedTree: Sendable {
  /// A file or directory: a node of the tree, seen through a view.
  package struct Entry: Sendable {
    package let position: Int
    /// The view's number.
    private let viewNumber: UInt8
    /// True below the view of one component of several, false below that of the mount's own root. A directory
    /// would otherwise have two parents.
    package let isInComponent: Bool
    /// True for the file that is the whole model: the position is that of the model's root.
    package let isModelFile: Bool

    init(position: Int, view: View, isInComponent: Bool, isModelFile: Bool = false) {
      self.position = position
      viewNumber = view.number
      self.isInComponent = isInComponent
      self.isModelFile = isModelFile
    }

    package var view: View { View.all[Int(viewNumber)] }

    /// True if the entry is not in the directory of a view.
    package var isRaw: Bool { viewNumber == View.raw.number }

    /// Bits 0 to 47: the position, plus one. Bits 48 to 55: the view. Bit 56: in a component's. Bit 57: the whole model.
    package var inode: UInt64 {
      UInt64(position) + 1 | UInt64(viewNumber) << 48 | (isInComponent ? 1 << 56 : 0)
        | (isModelFile ? 1 << 57 : 0)
    }

    /// True if the entry can be a model's root: it is in no view, and is not the model as one file.
    package var isModelRoot: Bool { isRaw && !isModelFile }

    /// Another node through the same view.
    package func at(_ position: Int) -> Entry {
      Entry(position: position, view: view, isInComponent: isInComponent)
    }
  }

  package let tree: Tree
  private let names: ViewNames

  /// The file in a model's root that is the whole model, reachable by name and not listed.
  package static let modelFile = Array(".model.safetensors".utf8)
  /// The directory in a quantised model's root that is the same model dequantised, reachable by name and not listed.
  package static let dequantizedDirectory = Array(".dequant".utf8)

  package init(_ tree: Tree, models: [Model]) throws(NamesError) {
    self.tree = tree
    names = try ViewNames(tree, models: models)
  }

  /// The node of an entry.
  package func node(_ entry: Entry) -> Tree.Node { tree.nodes[entry.position] }

  /// The entry with an inode number, or nil.
  package func entry(inode: UInt64) -> Entry? {
    let position = Int(inode & (1 << 48 - 1)) - 1
    let view = Int(inode >> 48 & 0xFF)
    guard tree.nodes.indices.contains(position), View.all.indices.contains(view) else { return nil }
    switch inode >> 56 {
    case 0, 1: return Entry(position: position, view: View.all[view], isInComponent: inode >> 56 == 1)
    case 2 where view == 0 && isModel(position): return modelFile(position)
    default: return nil
    }
  }

  /// The directory of a view of all models.
  package func root(of view: View) -> Entry? {
    let root = Entry(position: 0, view: .raw, isInComponent: false)
    return view.directory.isEmpty ? root : child(view.directory.span, of: root)
  }

  /// The same node through a view of all models.
  package func entry(_ entry: Entry, in view: View) -> Entry {
    Entry(position: entry.position, view: view, isInComponent: false)
  }

  private func modelFile(_ root: Int) -> Entry {
    Entry(position: root, view: .raw, isInComponent: false, isModelFile: true)
  }

  /// The child of this name, or nil. A model's root has the directories of the views too, and so has a root above
  /// several models.
  package func child(_ name: Span<UInt8>, of parent: Entry) -> Entry? {
    if parent.isRaw, isRoot(parent.position) {
      for view in View.inDirectories where view.directory.span.isEqual(name) {
        return Entry(position: parent.position, view: view, isInComponent: parent.position != 0)
      }
      if Self.modelFile.span.isEqual(name), isModel(parent.position) { return modelFile(parent.position) }
    }
    return names.child(name, of: parent.position, in: parent.view).map(parent.at)
  }

  /// The whole model that a node belongs to.
  package func modelFile(above position: Int) -> Entry? {
    var root = position
    while !isModel(root) {
      guard root != 0 else { return nil }
      root = Int(tree.nodes[root].parent)
    }
    return modelFile(root)
  }

  /// All entries of a node: in the tree, and in the views of the mount and of its component.
  package func entries(of position: Int) -> [Entry] {
    let raw = Entry(position: position, view: .raw, isInComponent: false)
    let hasComponents = tree.nodes[0].model == Tree.noModel
    return [raw]
      + View.inDirectories.flatMap { view in
        (hasComponents ? [false, true] : [false]).map {
          Entry(position: position, view: view, isInComponent: $0)
        }
      }
  }

  /// The name of an entry in its directory.
  package func name(of entry: Entry) -> ArraySlice<UInt8> { names.name(of: entry.position, in: entry.view) }

  /// The directory that an entry is in; the mount's root is in itself.
  package func parent(of entry: Entry) -> Entry {
    let isTop = entry.isInComponent ? isRoot(entry.position) : entry.position == 0
    if isTop { return Entry(position: entry.position, view: .raw, isInComponent: false) }
    return entry.at(Int(node(entry).parent))
  }

  /// True for each model's root.
  package func isModel(_ position: Int) -> Bool {
    isRoot(position) && tree.nodes[position].model != Tree.noModel
  }

  /// True for the root, and for each model's.
  private func isRoot(_ position: Int) -> Bool {
    position == 0
      || tree.nodes[0].model == Tree.noModel && tree.nodes[position].parent == 0
        && tree.nodes[position].kind == .directory
  }
}

extension Span<UInt8> {
  fileprivate func isEqual(_ other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index] != other[index] { return false }
    return true
  }
}
