internal import Safetensors
internal import SystemPackage

/// A file of a checkpoint of torch.distributed in the Hugging Face layout, by its name:
/// `shard-RRRRR-model-FFFFF-of-NNNNN.safetensors`, of which R is the rank that wrote it, from 1.
struct SlicedFileName {
  let rank: Int

  init?(_ name: [UInt8]) {
    guard let part = ShardName(name) else { return nil }
    let words = part.split.prefix.split(separator: "-", omittingEmptySubsequences: false)
    guard words.count >= 3, words[0] == "shard", let rank = Int(words[1]), rank >= 0 else { return nil }
    self.rank = rank
  }

  /// The files among `names` that are slices; nil if there are none. A rank without a file may have had nothing to
  /// write, or its file is missing. Both look the same, so `notes` reports it.
  static func complete(_ names: [[UInt8]], in path: FilePath, notes: inout [String]) -> [[UInt8]]? {
    let slices = names.filter { SlicedFileName($0) != nil }
    guard !slices.isEmpty else { return nil }
    let ranks = Set(slices.compactMap { SlicedFileName($0)?.rank })
    // Stops at the first gap, so it takes at most as many steps as there are files.
    if let last = ranks.max(), last > 0, let missing = (1...last).first(where: { !ranks.contains($0) }) {
      notes.append(
        "\(path.printable): rank \(missing) of the distributed checkpoint has no file; if one is missing, tensors lack slices"
      )
    }
    return slices
  }
}
