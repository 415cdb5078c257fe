internal import Safetensors

/// Finds tensors of a checkpoint that share a name, such as a tensor `a.b` and the tensor `b` in the object `a`.
///
/// torch loads both, into different dictionaries. stmount renames them to `NAME~1`, `NAME~2` and so on, in the order of
/// `.metadata`, as in a torch.save file.
struct DistributedClashes {
  private struct Place: Hashable {
    var name: TensorName
    var item: TensorName
  }

  /// The new names of tensors, by old name and item.
  private var names: [Place: TensorName] = [:]
  /// The shared names, sorted by bytes.
  private(set) var clashes: [NameClash] = []

  /// The sliced tensors that can share their name with a tensor in an object, because their name begins with the object's
  /// name and a dot.
  static func candidates(among items: [DistributedMetadata.Item]) -> Set<TensorName> {
    let names = Set(items.lazy.filter { $0.slice != nil }.map(\.name)).sorted()
    // For each name, by how many the number of matching objects differs from that of the name before it.
    var changes = [Int](repeating: 0, count: names.count + 1)
    for item in items where item.slice == nil {
      // Such names are consecutive when sorted: from NAME. up to NAME/, the next byte.
      for (end, change) in [(UInt8(ascii: "."), 1), (UInt8(ascii: "/"), -1)] {
        let bound = TensorName(utf8: item.name.utf8 + [end])
        changes[names.partitionPoint { $0 < bound }] += change
      }
    }
    var objects = 0
    var candidates: Set<TensorName> = []
    for (name, change) in zip(names, changes) {
      objects += change
      if objects > 0 { candidates.insert(name) }
    }
    return candidates
  }

  /// Finds the shared names in files. `items` has all items, in the order of `.metadata`.
  init(_ files: [DistributedFile], _ items: [DistributedMetadata.Item]) {
    var owners: [TensorName: TensorName] = [:]
    var shared: [TensorName: Set<TensorName>] = [:]
    for file in files {
      for (position, entry) in file.entries.enumerated() {
        let name = file.name(at: position)
        guard let owner = owners.updateValue(entry.item, forKey: name), owner != entry.item else { continue }
        shared[name, default: []].formUnion([owner, entry.item])
      }
    }
    guard !shared.isEmpty else { return }
    var ranks: [TensorName: Int] = [:]
    for (rank, item) in items.enumerated() where ranks[item.name] == nil { ranks[item.name] = rank }
    for (name, items) in shared.sorted(by: { $0.key < $1.key }) {
      var number = 0
      var first: [UInt8] = []
      for item in items.sorted(by: { ranks[$0, default: 0] < ranks[$1, default: 0] }) {
        var own: TensorName
        repeat {
          number += 1
          own = TensorName(utf8: name.utf8 + "~\(number)".utf8)
        } while owners[own] != nil
        names[Place(name: name, item: item)] = own
        if first.isEmpty { first = Array(own.utf8) }
      }
      clashes.append(NameClash(name: Array(name.utf8), count: items.count, first: first))
    }
  }

  /// Renames the tensors of a file.
  func rename(in file: inout DistributedFile) throws(ModelError) {
    if names.isEmpty { return }
    for (position, entry) in file.entries.enumerated() {
      if let own = names[Place(name: file.name(at: position), item: entry.item)] {
        try file.rename(at: position, to: own)
      }
    }
  }
}
