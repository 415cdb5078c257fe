internal import PyTorch
internal import Safetensors
internal import SystemPackage

/// The contents of a distributed checkpoint's `.metadata`: torch/distributed/checkpoint/metadata.py. It is a
/// pickle, which is never executed.
struct DistributedMetadata {
  /// A saved object, or a slice of a saved tensor: a torch.save file inside another file.
  struct Item {
    let name: TensorName
    /// Nil for an object. An object may contain tensors.
    let slice: Slice?
    /// The file's path relative to the checkpoint's directory.
    let file: [UInt8]
    let range: Range<UInt64>
    /// The index in ``items`` of an earlier rank's object with the same name.
    let original: Int?
  }

  /// The part of a tensor that an item holds.
  struct Slice: Hashable {
    /// The index of its first element in the whole tensor.
    private(set) var start: [UInt64]
    let shape: [UInt64]

    /// Converts the last index from pairs (PyTorch's float4_e2m1fn_x2) to elements. False if there is no
    /// dimension, or on overflow.
    mutating func unpack() -> Bool { DistributedMetadata.unpack(&start) }
  }

  private(set) var items: [Item] = []
  /// The shapes of whole tensors.
  private(set) var shapes: [TensorName: [UInt64]] = [:]
  private(set) var unknownGlobals: [[UInt8]] = []
  /// The F4 tensors whose shapes were already converted from pairs to elements.
  private var unpacked: Set<TensorName> = []

  /// The index in ``items`` of each item so far. If each rank has its own metadata, all of them list replicated tensors and
  /// objects.
  private var known: [Part: Int] = [:]

  private struct Part: Hashable {
    var name: TensorName
    var slice: Slice?
  }

  private struct Key: Hashable {
    var name: ArraySlice<UInt8>
    /// Nil for an object.
    var start: [UInt64]?
  }

  /// The cost of an item in ``MeteredPickle``'s budget: an item takes about 400 bytes of memory.
  private static let itemCost = 100

  /// Adds the contents of one metadata file. With `use_collectives=False`, each rank has its own.
  mutating func read(_ path: FilePath) throws(ModelError) {
    var pickle = try MeteredPickle(reading: path)
    // Every checkpoint names these classes, so a warning about them would not help.
    unknownGlobals += pickle.unknownGlobals.filter { name in
      !["torch.distributed.", "pathlib."].contains { name.starts(with: $0.utf8) }
    }
    guard let entries = try pickle.entries(pickle.attribute("state_dict_metadata", of: pickle.root)),
      let storage = try pickle.entries(pickle.attribute("storage_data", of: pickle.root))
    else { throw unknown(path) }
    var places: [Key: Pickle.Value] = [:]
    for (key, value) in storage {
      guard let name = try pickle.string(pickle.attribute("fqn", of: key)) else { continue }
      let start = try pickle.counts(pickle.attribute("offset", of: key))
      places[Key(name: name, start: start)] = value
    }
    // Only an item of an earlier file counts as a copy. Two equal items of one file are an overlap.
    let earlier = known
    for (key, value) in entries {
      guard let bytes = try pickle.string(key) else { throw unknown(path) }
      let name = TensorName(utf8: Array(bytes)[...])
      guard firstInvalidUTF8(Array(bytes).span) == nil else {
        throw Self.refusal(name, "has a name that is not UTF-8", path)
      }
      for slice in try slices(of: name, value, &pickle, path) {
        try pickle.pay(for: Self.itemCost + bytes.count / 8)
        guard let place = places[Key(name: bytes, start: slice?.start)] else {
          throw Self.refusal(name, "has a slice that .metadata assigns to no file", path)
        }
        let (file, range) = try Self.place(place, of: name, &pickle, path)
        let part = Part(name: name, slice: slice)
        let original = earlier[part]
        if original != nil, slice != nil { continue }
        if original == nil { known[part] = items.count }
        items.append(Item(name: name, slice: slice, file: file, range: range, original: original))
      }
    }
  }

  /// Records a tensor's shape and returns its slices; for an object, returns a single nil.
  private mutating func slices(
    of name: TensorName, _ description: Pickle.Value, _ pickle: inout MeteredPickle, _ path: FilePath
  ) throws(ModelError) -> [Slice?] {
    guard let chunks = try pickle.sequence(pickle.attribute("chunks", of: description)),
      let size = try pickle.counts(pickle.attribute("size", of: description))
    else {
      let className = try pickle.className(of: description) ?? []
      guard className.reversed().starts(with: "BytesStorageMetadata".utf8.reversed()) else {
        throw Self.refusal(name, "is described in an unsupported form", path)
      }
      return [nil]
    }
    guard shapes.updateValue(size, forKey: name).map({ $0 == size }) ?? true else {
      throw Self.refusal(name, "has different shapes in the metadata of two ranks", path)
    }
    guard !chunks.isEmpty || size.contains(0) else {
      throw Self.refusal(name, "has a gap: .metadata lists no slice of it", path)
    }
    var slices: [Slice?] = []
    for chunk in chunks {
      guard let start = try pickle.counts(pickle.attribute("offsets", of: chunk)),
        let shape = try pickle.counts(pickle.attribute("sizes", of: chunk))
      else { throw Self.refusal(name, "has a slice that .metadata assigns to no file", path) }
      slices.append(Slice(start: start, shape: shape))
    }
    return slices
  }

  /// The file of an item, and its range there.
  private static func place(
    _ place: Pickle.Value, of name: TensorName, _ pickle: inout MeteredPickle, _ path: FilePath
  ) throws(ModelError) -> (file: [UInt8], range: Range<UInt64>) {
    guard let file = try pickle.string(pickle.attribute("relative_path", of: place)),
      let offset = try pickle.count(pickle.attribute("offset", of: place)),
      let length = try pickle.count(pickle.attribute("length", of: place))
    else { throw refusal(name, "has a slice that .metadata assigns to no file", path) }
    // Pays for the copy of the name below.
    try pickle.pay(for: file.count)
    if let transforms = try pickle.sequence(pickle.attribute("transform_descriptors", of: place)),
      !transforms.isEmpty
    {
      throw refusal(name, "is compressed; save the checkpoint without extensions", path)
    }
    let (end, overflow) = offset.addingReportingOverflow(length)
    guard !overflow, RootDirectory.contains(file) else {
      throw refusal(name, "has a slice in a file outside the checkpoint's directory", path)
    }
    return (Array(file), offset..<end)
  }

  private func unknown(_ path: FilePath) -> ModelError {
    ModelError(
      .malformed, path,
      "not the .metadata of a distributed checkpoint (DCP), or one of an unsupported version")
  }

  /// Converts the whole shape of a tensor from pairs to elements; see ``Slice/unpack()``.
  mutating func unpackShape(of name: TensorName, _ path: FilePath) throws(ModelError) {
    guard unpacked.insert(name).inserted, var shape = shapes[name] else { return }
    guard Self.unpack(&shape) else {
      throw Self.refusal(name, "has a shape whose size does not fit in 64 bits", path)
    }
    shapes[name] = shape
  }

  private static func refusal(_ name: TensorName, _ clause: String, _ path: FilePath) -> ModelError {
    ModelError(.malformed, path, "tensor \(name) of the distributed checkpoint (DCP) \(clause)")
  }

  private static func unpack(_ numbers: inout [UInt64]) -> Bool {
    guard let last = numbers.indices.last else { return false }
    let (count, overflow) = numbers[last].multipliedReportingOverflow(by: 2)
    numbers[last] = count
    return !overflow
  }
}
