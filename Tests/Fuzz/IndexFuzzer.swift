import Fixtures

@testable import Safetensors

/// An index of shards: its tensors are in order, each in a shard whose name is the bare name of a file.
enum IndexFuzzer: Fuzzer {
  static var seeds: [[UInt8]] {
    [
      ShardIndex(
        ["a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"], totalSize: 9
      )
      .bytes,
      Array(#"{"weight_map":{"a":"../x.safetensors"},"metadata":{"total_size":1e99,"x":[{}]}}"#.utf8),
      Array(#" {"weight_map":{"\ud800":"\u0000"}} "#.utf8),
    ]
  }

  static func read(_ bytes: [UInt8]) {
    guard let index = try? ModelIndex.read(bytes) else { return }
    for (position, entry) in index.tensors.enumerated() {
      require(index.shards.indices.contains(entry.shard), "\(entry.name) is in no shard")
      require(position == 0 || index.tensors[position - 1].name < entry.name, "\(entry.name) is out of order")
    }
    for (position, shard) in index.shards.enumerated() {
      require(
        position == 0 || compareBytes(index.shards[position - 1][...], shard[...]) < 0,
        "shards are out of order")
      require(
        !shard.isEmpty && !shard.contains(0) && !shard.contains(UInt8(ascii: "/")),
        "a shard is no file's name")
      require(!shard.elementsEqual(".".utf8) && !shard.elementsEqual("..".utf8), "a shard is a directory")
    }
  }
}
