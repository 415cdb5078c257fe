import Testing
@testable import Models

import Safetensors

@Suite("Splitting into shards") struct ShardSplitTests {
  @Test(
    "A shard is filled until the next tensor does not fit; a tensor above the limit gets a shard of its own, before that one",
    arguments: [
      ([], [[]]),
      ([0], [[0]]),
      ([10], [[0]]),
      ([11], [[0]]),
      ([6, 6, 2, 6, 2, 2], [[0], [1, 2], [3, 4, 5]]),
      ([4, 6, 0, 1], [[0, 1, 2], [3]]),
      ([4, 20, 6, 1], [[1], [0, 2], [3]]),
      ([20, 20], [[0], [1]]),
      ([.max, .max, 1], [[0], [1], [2]]),
    ] as [([UInt64], [[Int]])])
  func split(sizes: [UInt64], expected: [[Int]]) {
    #expect(ShardSplit.shards(of: sizes, limit: 10) == expected)
  }

  @Test("Without a limit there is one shard")
  func unlimited() {
    #expect(ShardSplit.shards(of: [1, 2, 3], limit: .max) == [[0, 1, 2]])
  }
}

@Suite("Writing an index") struct IndexWriterTests {
  @Test("An index is the text of Python's json.dump with an indent of 2")
  func text() throws {
    let metadata = ["by": "me\"", "format": "pt", "total_size": "1", "é": "\u{7F}\n\u{1}😀"]
      .sorted { $0.key < $1.key }.map { (key: ArraySlice($0.key.utf8), value: ArraySlice($0.value.utf8)) }
    let bytes = IndexWriter.bytes(
      totalSize: 12, metadata: metadata,
      weightMap: [
        (TensorName("b"), Array("m-1.safetensors".utf8)), (TensorName("a/ü"), Array("m-2.safetensors".utf8)),
      ])
    #expect(
      String(decoding: bytes, as: UTF8.self) == #"""
        {
          "metadata": {
            "total_size": 12,
            "by": "me\"",
            "\u00e9": "\u007f\n\u0001\ud83d\ude00"
          },
          "weight_map": {
            "b": "m-1.safetensors",
            "a/\u00fc": "m-2.safetensors"
          }
        }
        """#)
    let index = try ModelIndex.read(bytes)
    #expect(index.tensors.map(\.name) == [TensorName("a/ü"), TensorName("b")])
  }
}
