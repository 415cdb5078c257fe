internal import Safetensors

/// The `config_groups` of compressed-tensors: the quantisation scheme of each module.
struct CompressionSchemes: Sendable {
  /// The weight settings of a group.
  struct Scheme: Sendable, Equatable {
    var bits: Int?
    /// False for floating-point codes; nil if the group does not say.
    var isInteger: Bool?
    /// `tensor`, `channel`, `group`, `tensor_group`, `block`.
    var strategy: String?
    var groupSize: Int?
    var blockRows: UInt64?
    var blockColumns: UInt64?
    var isSymmetric: Bool
    /// True if columns are not grouped in order, so that an index is required.
    var isReordered: Bool
  }

  private typealias Group = (targets: [Target], scheme: Scheme)

  private let groups: [Group]
  /// The version of the library that wrote the model, as (major, minor); nil if unknown.
  let version: (Int, Int)?

  /// The modules that a group applies to.
  private enum Target {
    case name([UInt8])
    case pattern(NamePattern)
    /// An unsupported regular expression.
    case unreadable
  }

  init(_ config: QuantizationConfig) {
    var groups: [Group] = []
    if config.family == .compressedTensors {
      // The keys sort in the order of the groups: group_0, group_1.
      for (_, group) in (config.settings["config_groups"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
        guard let weights = group["weights"] else { continue }
        let block = weights["block_structure"]?.pair
        let scheme = Scheme(
          bits: weights["num_bits"]?.integer,
          isInteger: weights["type"]?.string.map { $0.lowercased() == "int" },
          strategy: weights["strategy"]?.string?.lowercased(),
          groupSize: weights["group_size"]?.integer, blockRows: block?.0, blockColumns: block?.1,
          isSymmetric: weights["symmetric"]?.bool ?? true,
          isReordered: weights["actorder"]?.bool == true
            || ["group", "dynamic"].contains(weights["actorder"]?.string?.lowercased() ?? ""))
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

  /// The schemes that may apply to a module. Groups that name it take precedence over groups with a matching
  /// expression, and these over groups for its class. Considers only groups for codes of its kind. Empty if
  /// none applies. Several if groups with different schemes apply: which one the writer used depends on its
  /// library's version.
  func schemes(for module: ArraySlice<UInt8>, isInteger: Bool) throws(Refusal) -> [Scheme] {
    let groups = groups.filter { ($0.scheme.isInteger ?? isInteger) == isInteger }
    guard let first = groups.first?.scheme else { return [] }
    if groups.allSatisfy({ $0.scheme == first }) { return [first] }
    func schemes(where isTarget: (Target) -> Bool) -> [Scheme] {
      groups.filter { $0.targets.contains(where: isTarget) }.reduce(into: []) { found, group in
        if !found.contains(group.scheme) { found.append(group.scheme) }
      }
    }
    func named(_ isWanted: ([UInt8]) -> Bool) -> [Scheme] {
      schemes { if case .name(let name) = $0 { isWanted(name) } else { false } }
    }
    let exact = named { $0[...] == module }
    if !exact.isEmpty { return exact }
    let matching = schemes {
      if case .pattern(let pattern) = $0 { pattern.matchesPrefix(of: module) } else { false }
    }
    if !matching.isEmpty { return matching }
    if !schemes(where: { if case .unreadable = $0 { true } else { false } }).isEmpty {
      throw Refusal("a target in config_groups is an unsupported regular expression")
    }
    let likely = ModuleClass(of: module)
    for wanted in likely == .embedding ? [.embedding, .linear] : [likely] {
      let found = named { $0.elementsEqual(wanted.rawValue.utf8) }
      if !found.isEmpty { return found }
    }
    // It is quantised, so it has some other class. Class names begin with a capital letter.
    return named { $0.first.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) } ?? false }
  }
}

extension QuantizedModule {
  /// Calls `read` with the module's scheme, or nil if there is none. If several schemes may apply, uses the
  /// one that fits the tensors.
  func withScheme(
    isInteger: Bool, _ read: (CompressionSchemes.Scheme?) throws(Refusal) -> QuantizedTensor
  ) throws(Refusal) -> QuantizedTensor {
    let candidates = try schemes.schemes(for: name, isInteger: isInteger)
    if candidates.count < 2 { return try read(candidates.first) }
    let fitting = candidates.compactMap { try? read($0) }
    guard fitting.count == 1 else {
      throw Refusal("two groups in config_groups with different schemes match it")
    }
    return fitting[0]
  }
}
