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
    /// True for a tensor that holds the elements in another one.
    public var isWrapped = false

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
      if isWrapped {
        item.object = .call(
          .global("torch._tensor", "_rebuild_from_type_v2"),
          [
            .global("torch._utils", "_rebuild_wrapper_subclass"), .global("ao", "Quantized"), .tuple([]),
            .dictionary(["data": item.object]),
          ])
      }
      return item
    }
  }

  /// A value that is not a tensor, saved by torch.save.
  public struct Object {
    /// Its name.
    public var name: String
    /// What is in the file.
    public var bytes: [UInt8]
    /// The file that it is in.
    public var file: String

    /// An object whose file of torch.save has these bytes.
    public init(_ name: String, _ bytes: [UInt8], file: String = "__0_0.distcp") {
      (self.name, self.bytes, self.file) = (name, bytes, file)
    }
  }

  /// The slices, in the order in which they are written.
  public var chunks: [Chunk]
  /// The tensors' whole shapes.
  public var shapes: KeyValuePairs<String, [Int]>
  /// The other values, which come before the slices.
  public var objects: [Object]

  /// A checkpoint of some slices, and of objects: a number beside the first slice, unless others are given.
  public init(
    _ chunks: [Chunk], shapes: KeyValuePairs<String, [Int]>,
    objects: [Object]? = nil
  ) {
    (self.chunks, self.shapes) = (chunks, shapes)
    let step = Object("step", TorchFile(.int(7)).bytes, file: chunks.first?.file ?? "__0_0.distcp")
    self.objects = objects ?? [step]
  }

  /// Writes the files, of which `metadata` describes the others.
  public func write(to directory: TemporaryDirectory, metadata: String = ".metadata") throws {
    var files: [String: [UInt8]] = [:]
    var storage: [(PickledValue, PickledValue)] = []
    func add(
      _ name: String, _ start: PickledValue, _ bytes: [UInt8], to file: String, _ transforms: PickledValue?
    ) {
      var place: [(PickledValue, PickledValue)] = [
        (.string("relative_path"), .string(file)),
        (.string("offset"), .int(files[file, default: []].count)), (.string("length"), .int(bytes.count)),
      ]
      if let transforms { place.append((.string("transform_descriptors"), transforms)) }
      files[file, default: []] += bytes
      let index = Self.object("MetadataIndex", ["fqn": .string(name), "offset": start, "index": .int(0)])
      let info = PickledValue.instance(.global("torch.distributed.checkpoint.filesystem", "_StorageInfo"))
      storage.append((index, .state(info, .pairs(place))))
    }
    for object in objects { add(object.name, .none, object.bytes, to: object.file, nil) }
    for chunk in chunks {
      add(chunk.name, Self.size(chunk.start), chunk.item.bytes, to: chunk.file, chunk.transforms)
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
    let others = objects.map {
      (
        PickledValue.string($0.name),
        PickledValue.instance(.global("torch.distributed.checkpoint.metadata", "BytesStorageMetadata"))
      )
    }
    let description = Self.object(
      "Metadata", ["state_dict_metadata": .pairs(tensors + others), "storage_data": .pairs(storage)])
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
