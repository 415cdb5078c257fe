/// A distributed checkpoint (DCP) in PyTorch's own format, as FileSystemWriter writes it: `.metadata`, and `*.distcp` files with
/// slices, each of which is a torch.save file.
public struct DistributedCheckpoint {
  /// A slice in a file.
  public struct Chunk {
    /// The name of its tensor.
    public var name: String
    /// The index of its first element in the whole tensor.
    public var start: [Int]
    /// The shape of the slice.
    public var shape: [Int]
    /// The elements of the slice, one byte each.
    public var data: [UInt8]
    /// The file of the slice.
    public var file: String
    /// The extensions that compressed it.
    public var transforms: PickledValue?
    /// An element type without a storage class. Without one, elements are bytes.
    public var dtype: String?
    /// True for a tensor that wraps another one, which has the elements.
    public var isWrapped = false

    /// A slice of bytes, unless `dtype` says otherwise.
    public init(
      _ name: String = "w", start: [Int], shape: [Int], data: [UInt8], file: String = "__0_0.distcp",
      transforms: PickledValue? = nil, dtype: String? = nil
    ) {
      (self.name, self.start, self.shape, self.data) = (name, start, shape, data)
      (self.file, self.transforms, self.dtype) = (file, transforms, dtype)
    }

    /// The torch.save file of the slice.
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
    /// The contents of the file.
    public var bytes: [UInt8]
    /// The file of the object.
    public var file: String

    /// An object whose torch.save file has these bytes.
    public init(_ name: String, _ bytes: [UInt8], file: String = "__0_0.distcp") {
      (self.name, self.bytes, self.file) = (name, bytes, file)
    }
  }

  /// The slices, in the order in which they are written.
  public var chunks: [Chunk]
  /// The shapes of whole tensors.
  public var shapes: KeyValuePairs<String, [Int]>
  /// The other values. Files have them before the slices.
  public var objects: [Object]

  /// A checkpoint of some slices and objects. Without `objects`, it has a number before the first slice.
  public init(
    _ chunks: [Chunk], shapes: KeyValuePairs<String, [Int]>,
    objects: [Object]? = nil
  ) {
    (self.chunks, self.shapes) = (chunks, shapes)
    let step = Object("step", TorchFile(.int(7)).bytes, file: chunks.first?.file ?? "__0_0.distcp")
    self.objects = objects ?? [step]
  }

  /// Writes the files. `metadata` is the name of the file that describes the others.
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
    // Values that are not tensors have no size.
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
