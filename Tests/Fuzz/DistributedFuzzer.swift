import Fixtures

@testable import Models
@testable import Safetensors

/// The readers of descriptions of distributed checkpoints: `.metadata`, and the JSON of `DCP_SHARDING_INFO`.
enum DistributedFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    let module = "torch.distributed.checkpoint.metadata"
    func object(_ name: String, _ fields: KeyValuePairs<String, PickledValue>) -> PickledValue {
      .state(.instance(.global(module, name)), .dictionary(fields))
    }
    let size = PickledValue.call(.global("torch", "Size"), [.tuple([.int(2)])])
    let start = PickledValue.call(.global("torch", "Size"), [.tuple([.int(0)])])
    let chunk = object("ChunkStorageMetadata", ["offsets": start, "sizes": size])
    let tensor = object("TensorStorageMetadata", ["size": size, "chunks": .list([chunk])])
    let place = object(
      "_StorageInfo", ["relative_path": .string("__0_0.distcp"), "offset": .int(0), "length": .int(9)])
    let bytes = PickledValue.instance(.global(module, "BytesStorageMetadata"))
    let metadata = object(
      "Metadata",
      [
        "state_dict_metadata": .pairs([(.string("w"), tensor), (.string("step"), bytes)]),
        "storage_data": .pairs([
          (object("MetadataIndex", ["fqn": .string("w"), "offset": start]), place),
          (object("MetadataIndex", ["fqn": .string("step"), "offset": .none]), place),
        ]),
      ])
    let texts = [
      #"{"w":{"saved_offsets":[0,4]},"s":{"saved_offsets":[]}}"#, #"{"w":{}}"#,
      #"{"w":{"saved_offsets":[-1]}}"#,
      #"{"w":{"saved_offsets":[18446744073709551615]},"w":{"saved_offsets":[0]}}"#,
    ]
    return [metadata.pickle] + texts.map { Array($0.utf8) }
  }

  static var words: [String] {
    [
      "saved_offsets", "chunks", "storage_data", "relative_path", "state_dict_metadata",
      "BytesStorageMetadata",
    ]
  }

  static func test(_ input: [UInt8]) {
    do throws(JSONError) {
      let info = try ShardingInfo(json: input)
      require((try? JSONValue(parsing: input)) != nil || info.starts.isEmpty, "it is accepted, and no JSON")
    } catch {
      requirePrintable(error.problem)
    }
    var metadata = DistributedMetadata()
    do throws(ModelError) {
      try metadata.read(ScratchFile.write(input, size: input.count))
    } catch {
      requirePrintable(error.description)
      return
    }
    for item in metadata.items {
      require(RootDirectory.contains(item.file[...]), "an item is outside of the checkpoint")
      require(
        item.slice == nil || metadata.shapes[item.name] != nil, "\(item.name) has a slice and no shape")
    }
  }
}
