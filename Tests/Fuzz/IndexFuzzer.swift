import Fixtures

@testable import Models
@testable import Safetensors
@testable import TensorFiles

/// The readers of model.safetensors.index.json and model_index.json, and the writer with every index that the first reader accepts.
enum IndexFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    let name = "model-0000\u{31}-of-00002.safetensors"
    let texts = [
      #"{"metadata":{"total_size":-1.5e3,"x":[[]]},"weight_map":{"a":"f","b":"g"},"more":[1,{}]}"#,
      #"{"\u0077eight_map":{"\u0061":"\u0066"}}"#, #"{"weight_map":{"a":"../f"}}"#, "{}",
      #"{"weight_map":{"a":"f","a":"g"}}"#, #"{"weight_map":{"a":"./f","b":"sub/./f","c":"sub/../f"}}"#,
      #"{"weight_map":{"a":"f"},"weight_map":{}}"#,
      #"{"_class_name":"P","unet":["diffusers","U"],"x":[null,null],"c":["d","MultiControlNetModel"],"n":[[1],true]}"#,
    ]
    let set = ShardIndex(
      [("a", name), ("b", "model-00002-of-00002.safetensors"), ("é/\n", name)], totalSize: 7)
    return [set.bytes] + texts.map { Array($0.utf8) }
  }

  static var words: [String] { ["\"weight_map\":{", "\"metadata\":{", "\\u", "\"..\"", "1e999"] }

  static func test(_ input: [UInt8]) {
    do throws(JSONError) {
      let index = try PipelineIndex(json: input)
      require(index.lists.allSatisfy(index.components.contains), "a list is no component")
      let isJSON = (try? JSONValue(parsing: input)) != nil
      require(isJSON || index.components.isEmpty, "it is accepted, and no JSON")
    } catch {
      requirePrintable(error.problem)
    }
    let index: ModelIndex
    do throws(JSONError) {
      index = try ModelIndex.read(input)
    } catch {
      requirePrintable(error.problem)
      return
    }
    check(index)
    require((try? JSONValue(parsing: input)) != nil, "it is accepted, and no JSON")
    let written = IndexWriter.bytes(
      totalSize: .max, metadata: [], weightMap: index.tensors.map { ($0.name, index.shards[$0.shard]) })
    guard let again = try? ModelIndex.read(written) else {
      fatalError("an index that was written is refused")
    }
    require(
      index.shards == again.shards && index.tensors.elementsEqual(again.tensors, by: ==),
      "an index is not read as it was written")
  }

  private static func check(_ index: ModelIndex) {
    require(!index.tensors.isEmpty, "the index names no tensor")
    for (left, right) in zip(index.shards, index.shards.dropFirst()) {
      require(left.lexicographicallyPrecedes(right), "shards are not in order, or have a duplicate")
    }
    for shard in index.shards {
      let components = shard.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      require(
        !shard.contains(0)
          && components.allSatisfy {
            !$0.isEmpty && $0 != Array(".".utf8)[...] && $0 != Array("..".utf8)[...]
          },
        "a shard is not below its index's directory")
    }
    require(
      Set(index.tensors.map(\.shard)) == Set(index.shards.indices),
      "a shard has no tensor, or a tensor has no shard")
    for (left, right) in zip(index.tensors, index.tensors.dropFirst()) {
      require(
        left.name.utf8.lexicographicallyPrecedes(right.name.utf8), "\(left.name) comes before \(right.name)")
    }
  }
}
