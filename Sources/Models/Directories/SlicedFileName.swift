internal import Safetensors

/// The name of a file of a distributed checkpoint (DCP) in the Hugging Face layout:
/// `shard-RRRRR-model-FFFFF-of-NNNNN.safetensors`, where R is the rank that wrote it, from 1.
struct SlicedFileName {
  let rank: Int

  init?(_ name: [UInt8]) {
    guard let part = ShardName(name) else { return nil }
    let words = part.split.prefix.split(separator: "-", omittingEmptySubsequences: false)
    guard words.count >= 3, words[0] == "shard", let rank = Int(words[1]), rank >= 0 else { return nil }
    self.rank = rank
  }

  /// The files among `names` that are slices; nil if there are none.
  static func files(among names: [[UInt8]]) -> [[UInt8]]? {
    let slices = names.filter { SlicedFileName($0) != nil }
    return slices.isEmpty ? nil : slices
  }

  /// The first rank that has none of these files. Either it had nothing to write, or its file is missing; names do not tell.
  static func missingRank(in files: [[UInt8]]) -> Int? {
    let ranks = Set(files.compactMap { SlicedFileName($0)?.rank })
    guard let last = ranks.max(), last > 0 else { return nil }
    // Stops at the first gap, so it takes at most as many steps as there are files.
    return (1...last).first { !ranks.contains($0) }
  }
}
