internal import Safetensors

/// The `config_groups` of compressed-tensors: the quantisation scheme of each module.
struct CompressionSchemes: Sendable {
  /// What a group says of its weights.
  struct Scheme: Sendable, Equatable {
    var bits: Int?
    /// `tensor`, `channel`, `group`, `tensor_group`, `block`.
    var strategy: String?
    var groupSize: Int?
    var blockRows: UInt64?
    var blockColumns: UInt64?
    var isSymmetric: Bool
    /// True if columns are not grouped in their order, so that there must be an index.
    var isReordered: Bool
  }

  private let groups: [(targets: [Target], scheme: Scheme)]
  /// The version of the library that wrote the model: major, minor; nil if it does not say.
  let version: (Int, Int)?

  /// What modules a group is for.
  private enum Target {
    case name([UInt8])
    case pattern(NamePattern)
    /// An expression that is not understood.
    case unreadable
  }

  init(_ config: QuantizationConfig) {
    var groups: [(targets: [Target], scheme: Scheme)] = []
    if config.family == .compressedTensors {
      // The order of the keys is the groups' own: group_0, group_1.
      for (_, group) in (config.settings["config_groups"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
        guard let weights = group["weights"] else { continue }
        let block = weights["block_structure"]?.pair
        let scheme = Scheme(
          bits: weights["num_bits"]?.integer, strategy: weights["strategy"]?.string,
          groupSize: weights["group_size"]?.integer, blockRows: block?.0, blockColumns: block?.1,
          isSymmetric: weights["symmetric"]?.bool ?? true,
          isReordered: ["group", "dynamic"].contains(weights["actorder"]?.string?.lowercased() ?? ""))
        let targets = (group["targets"]?.strings ?? []).map { target -> Target in
          guard target.hasPrefix("re:") else { return .name(Array(target.utf8)) }
          return NamePattern(String(target.dropFirst(3))).map { .pattern($0) } ?? .unreadable
        }
        groups.append((targets, scheme))
      }
    }
    self.groups = groups
    version = config.settings["version"]?.string.flatMap { text in
      let numbers = text.split(separator: ".").prefix(2).compactMap { Int($0) }
      return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
    }
  }

  /// The scheme of a module: by its exact name, by an expression, by the class of all that are left. Nil if no group
  /// is for it; refused if several are.
  func scheme(for module: ArraySlice<UInt8>) throws(Refusal) -> Scheme? {
    guard let first = groups.first?.scheme else { return nil }
    if groups.allSatisfy({ $0.scheme == first }) { return first }
    if let scheme = try only({ if case .name(let name) = $0 { name[...] == module } else { false } }) {
      return scheme
    }
    let matched = try only {
      if case .pattern(let pattern) = $0 { pattern.matchesPrefix(of: module) } else { false }
    }
    if let matched { return matched }
    let hasUnreadable = groups.contains {
      $0.targets.contains { if case .unreadable = $0 { true } else { false } }
    }
    if hasUnreadable { throw Refusal("a target of config_groups is an expression that is not understood") }
    // What remains are classes: embeddings are told by their names, everything else is linear.
    let component = module.split(separator: UInt8(ascii: ".")).last ?? module
    let isEmbedding = component.starts(with: "embed".utf8) || component.elementsEqual("wte".utf8)
    let wanted = isEmbedding ? "Embedding" : "Linear"
    return try only { if case .name(let name) = $0 { name.elementsEqual(wanted.utf8) } else { false } }
  }

  /// The scheme of the groups that have such a target; nil if none has. Refuses several schemes: which of them the writer's
  /// library took depends on its version.
  private func only(_ isTarget: (Target) -> Bool) throws(Refusal) -> Scheme? {
    let found = groups.filter { $0.targets.contains(where: isTarget) }.map { $0.scheme }
    guard let first = found.first else { return nil }
    guard found.allSatisfy({ $0 == first }) else {
      throw Refusal("two groups of config_groups with different schemes are for it")
    }
    return first
  }
}
