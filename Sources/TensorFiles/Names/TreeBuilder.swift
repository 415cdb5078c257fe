package import Models
internal import Safetensors

/// Builds the tree of a collection's names.
package struct TreeBuilder {
  /// The maximum number of directories of one model. A header of 100 MB can have a hundred million slashes, and each
  /// directory takes memory; real models have some thousands.
  package static let maximumDirectories = 1 << 20
  /// This many directories are always allowed; beyond, one per two bytes of names, so that slashes alone cannot exhaust memory.
  private static let freeDirectories = 1 << 16

  /// The root first, every directory before its children. `first` is set for tensors, but not yet for directories.
  private var drafts: [Tree.Node] = []
  private var names: [UInt8] = []

  /// The tree of all models: the root is the only model's root, or has one directory for each model.
  package static func tree(of collection: ModelCollection) throws(NamesError) -> Tree {
    var builder = TreeBuilder()
    let isSingle = collection.components.first?.name == nil
    builder.append([], .directory, in: 0, model: isSingle ? 0 : Tree.noModel)
    for (index, component) in collection.components.enumerated() {
      let model = UInt32(index)
      var root: UInt32 = 0
      if let name = component.name {
        root = builder.append(PathEncoder.encodeDirectory(name), .directory, in: 0, model: model)
      }
      try builder.append(component.model, number: model, below: root)
    }
    return try builder.finish()
  }

  /// Adds one file or directory, and returns its number among the drafts.
  @discardableResult
  package mutating func append(
    _ name: some Collection<UInt8>, _ kind: Tree.Kind, in parent: UInt32, model: UInt32, first: UInt32 = 0
  ) -> UInt32 {
    drafts.append(
      Tree.Node(
        nameStart: names.count, nameCount: UInt8(name.count), kind: kind, model: model, parent: parent,
        first: first))
    names += name
    return UInt32(drafts.count - 1)
  }

  /// Adds a model's metadata.json and tensors. Names are sorted, so those of one directory are contiguous.
  private mutating func append(_ model: Model, number: UInt32, below root: UInt32) throws(NamesError) {
    append(PathEncoder.metadataFile, .metadata, in: root, model: number)
    var encoder = PathEncoder()
    var previous: [UInt8] = []
    /// The directories of the previous path, outermost first.
    var open: [UInt32] = []
    var directories = 0
    var nameBytes = 0
    for (index, place) in model.places.enumerated() {
      let name = model.name(at: place)
      nameBytes += name.utf8.count
      let limit = min(Self.maximumDirectories, Self.freeDirectories + nameBytes / 2)
      let path = encoder.encode(name).bytes
      let shared = Self.sharedDirectories(previous, path)
      open.removeSubrange(shared.count...)
      var rest = path[shared.end...]
      while let slash = rest.firstIndex(of: UInt8(ascii: "/")) {
        directories += 1
        if directories > limit { throw .tooManyDirectories(tensor: name, limit: limit) }
        open.append(append(rest[..<slash], .directory, in: open.last ?? root, model: number))
        rest = rest[(slash + 1)...]
      }
      append(rest, .tensor, in: open.last ?? root, model: number, first: UInt32(index))
      previous = path
    }
  }

  /// The number of leading directories that two paths share, and the offset of the rest.
  private static func sharedDirectories(_ left: [UInt8], _ right: [UInt8]) -> (count: Int, end: Int) {
    var shared = (count: 0, end: 0)
    for index in 0..<min(left.count, right.count) where left[index] == UInt8(ascii: "/") {
      guard left[shared.end...index] == right[shared.end...index] else { break }
      shared = (shared.count + 1, index + 1)
    }
    return shared
  }

  /// Makes each directory's children contiguous, sorts them by name, and renumbers them.
  package consuming func finish() throws(NamesError) -> Tree {
    // Children of the directory at draft position d will stand at starts[d]..<starts[d + 1]; the root at 0.
    var starts = [UInt32](repeating: 0, count: drafts.count + 1)
    for draft in drafts.dropFirst() { starts[Int(draft.parent) + 1] += 1 }
    starts[0] = 1
    for index in 1..<starts.count { starts[index] += starts[index - 1] }

    var order = [UInt32](repeating: 0, count: drafts.count)
    var next = starts
    for (index, draft) in drafts.enumerated().dropFirst() {
      order[Int(next[Int(draft.parent)])] = UInt32(index)
      next[Int(draft.parent)] += 1
    }
    next = []
    for directory in drafts.indices where drafts[directory].kind == .directory {
      let range = Int(starts[directory])..<Int(starts[directory + 1])
      order[range].sort { compareBytes(name($0), name($1)) < 0 }
      for position in range.dropFirst() where name(order[position]) == name(order[position - 1]) {
        throw .collision(component: Array(name(order[position])))
      }
    }

    var positions = [UInt32](repeating: 0, count: drafts.count)
    for (position, index) in order.enumerated() { positions[Int(index)] = UInt32(position) }
    for index in drafts.indices {
      drafts[index].parent = positions[Int(drafts[index].parent)]
      if drafts[index].kind == .directory {
        drafts[index].first = starts[index]
        drafts[index].count = starts[index + 1] - starts[index]
      }
    }
    starts = []
    positions = []
    // In place, so that a name of nothing but slashes takes no more memory than the table that comes of it.
    Self.reorder(&drafts, by: &order)
    for position in drafts.indices.dropFirst() where drafts[position].kind == .directory {
      drafts[Int(drafts[position].parent)].directories += 1
    }
    return Tree(nodes: drafts, names: names)
  }

  /// Puts the draft number `order[position]` at each position, by following the cycles of the permutation, which it uses up.
  private static func reorder(_ drafts: inout [Tree.Node], by order: inout [UInt32]) {
    let done = UInt32.max
    for start in order.indices where order[start] != done {
      let held = drafts[start]
      var position = start
      while true {
        let source = Int(order[position])
        order[position] = done
        if source == start { break }
        drafts[position] = drafts[source]
        position = source
      }
      drafts[position] = held
    }
  }

  private func name(_ index: UInt32) -> ArraySlice<UInt8> {
    let draft = drafts[Int(index)]
    return names[draft.nameStart..<draft.nameStart + Int(draft.nameCount)]
  }
}
