/// A checkpoint of torch.distributed in its own files, as FileSystemWriter leaves it: `.metadata`, and slices in `*.distcp`
/// files, each of them a file of torch.save.
public struct DistributedCheckpoint {
  /// A slice in some file.
  public struct Chunk {
    /// The tensor that it is a part of.
    public var name: String
    /// The index of its first element in the whole.
    public var start: [Int]
    /// Its own shape.
    public var shape: [Int]
    /// Its elements, bytes each.
    public var data: [UInt8]
    /// The file that it is in.
    public var file: String
    /// What has compressed it.
    public var transforms: PickledValue?
    /// An element type that has no storage class; bytes without one.
    public var dtype: String?

    /// A slice of bytes, unless `dtype` says otherwise.
    public init(
      _ name: String = "w", start: [Int], shape: [Int], data: [UInt8], file: String = "__0_0.distcp",
      transforms: PickledValue? = nil, dtype: String? = nil
    ) {
      (self.name, self.start, self.shape, self.data) = (name, start, shape, data)
      (self.file, self.transforms, self.dtype) = (file, transforms, dtype)
    }

    /// What torch.save makes of it.
    fileprivate var item: TorchFile {
      var item = TorchFile()
      if let dtype {
        let storage = item.addStorage("Untyped", count: data.count, data: data)
        item.object = item.view(of: storage, as: dtype, shape)
      } else {
        item.object = item.tensor("Byte", shape, data: data)
      }
      return item
    }
  }

  /// The slices, in the order in which they are written.
  public var chunks: [Chunk]
  /// The tensors' whole shapes.
  public var shapes: KeyValuePairs<String, [Int]>

  /// A checkpoint of some slices.
  public init(_ chunks: [Chunk], shapes: KeyValuePairs<String, [Int]>) {
    (self.chunks, self.shapes) = (chunks, shapes)
  }

  /// Writes the files, of which `metadata` describes the others.
  public func write(to directory: TemporaryDirectory, metadata: String = ".metadata") throws {
    var files: [String: [UInt8]] = [:]
    var storage: [(PickledValue, PickledValue)] = []
    for chunk in chunks {
      let bytes = chunk.item.bytes
      var place: [(PickledValue, PickledValue)] = [
        (.string("relative_path"), .string(chunk.file)),
        (.string("offset"), .int(files[chunk.file, default: []].count)),
        (.string("length"), .int(bytes.count)),
      ]
      if let transforms = chunk.transforms { place.append((.string("transform_descriptors"), transforms)) }
      files[chunk.file, default: []] += bytes
      let index = Self.object(
        "MetadataIndex", ["fqn": .string(chunk.name), "offset": Self.size(chunk.start), "index": .int(0)])
      let info = PickledValue.instance(.global("torch.distributed.checkpoint.filesystem", "_StorageInfo"))
      storage.append((index, .state(info, .pairs(place))))
    }
    let tensors = shapes.map { name, shape in
      let slices = chunks.filter { $0.name == name }.map {
        Self.object("ChunkStorageMetadata", ["offsets": Self.size($0.start), "sizes": Self.size($0.shape)])
      }
      return (
        PickledValue.string(name),
        Self.object("TensorStorageMetadata", ["size": Self.size(shape), "chunks": .list(slices)])
      )
    }
    // What is no tensor has no size.
    let bytes = (PickledValue.string("step"), Self.object("BytesStorageMetadata", [:]))
    let description = Self.object(
      "Metadata", ["state_dict_metadata": .pairs(tensors + [bytes]), "storage_data": .pairs(storage)])
    try directory.write(metadata, description.pickle)
    for (name, bytes) in files { try directory.write(name, bytes) }
  }

  private static func object(_ name: String, _ fields: KeyValuePairs<String, PickledValue>) -> PickledValue {
    .state(.instance(.global("torch.distributed.checkpoint.metadata", name)), .dictionary(fields))
  }

  private static func size(_ numbers: [Int]) -> PickledValue {
    .call(.global("torch", "Size"), [.tuple(numbers.map { .int($0) })])
  }
}
