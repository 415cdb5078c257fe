/// Divides tensors into shards, as huggingface_hub does.
package enum ShardSplit {
  /// Divides tensors of these sizes, in their order, into shards of at most `limit` bytes: positions in `sizes`, by
  /// shard.
  ///
  /// A larger tensor has a shard of its own, which comes before the one that is being filled:
  /// split_state_dict_into_shards_factory.
  package static func shards(of sizes: [UInt64], limit: UInt64) -> [[Int]] {
    var shards: [[Int]] = []
    var current: [Int] = []
    var currentSize: UInt64 = 0
    for (position, size) in sizes.enumerated() {
      if size > limit {
        shards.append([position])
        continue
      }
      // Neither is above the limit, so that the difference cannot be negative.
      if size > limit - currentSize {
        shards.append(current)
        current = []
        currentSize = 0
      }
      current.append(position)
      currentSize += size
    }
    if !current.isEmpty || shards.isEmpty { shards.append(current) }
    return shards
  }
}
