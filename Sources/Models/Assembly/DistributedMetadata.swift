internal import PyTorch
internal import Safetensors
internal import SystemPackage

/// The contents of `.metadata` of a torch.distributed checkpoint: torch/distributed/checkpoint/metadata.py. It is a pickle,
/// which is never executed.
struct DistributedMetadata {
  /// What was saved under a name, or a slice of it: a file of torch.save inside another file.
  struct Item {
    let name: TensorName
    /// Nil for an object that is not a tensor. There may be tensors in it.
    let slice: Slice?
    /// The file below the checkpoint's directory.
    let file: [UInt8]
    let range: Range<UInt64>
    /// The place in ``items`` of the object of this name that an earlier rank has.
    let original: Int?
  }

  /// The part of a tensor that an item is.
  struct Slice: Hashable {
    /// The index of its first element in the whole.
    private(set) var start: [UInt64]
    let shape: [UInt64]

    /// Counts elements along the last dimension in place of PyTorch's float4_e2m1fn_x2, which are pairs; false where there is
    /// no such dimension or number.
    mutating func unpack() -> Bool { DistributedMetadata.unpack(&start) }
  }

  private(set) var items: [Item] = []
  /// The tensors' whole shapes.
  private(set) var shapes: [TensorName: [UInt64]] = [:]
  private(set) var unknownGlobals: [[UInt8]] = []
  /// The tensors whose shapes count elements and no longer pairs.
  private var unpacked: Set<TensorName> = []

  /// The items of the files that have been read: each rank's own metadata lists replicated tensors and objects, too.
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

  /// What an item costs in a ``MeteredPickle``, since it takes about 400 bytes of memory.
  private static let itemCost = 100

  /// Adds the contents of one file; with `use_collectives=False` each rank has its own.
  mutating func read(_ path: FilePath) throws(ModelError) {
    var pickle = try MeteredPickle(reading: path)
    // Every checkpoint names these classes.
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
    // Of one file's own, two of one place overlap.
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
          throw Self.refusal(name, "has a slice that is in no file", path)
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

  /// The slices of a tensor, whose shape is recorded; nil, once, for an object.
  private mutating func slices(
    of name: TensorName, _ description: Pickle.Value, _ pickle: inout MeteredPickle, _ path: FilePath
  ) throws(ModelError) -> [Slice?] {
    guard let chunks = try pickle.sequence(pickle.attribute("chunks", of: description)),
      let size = try pickle.counts(pickle.attribute("size", of: description))
    else {
      let className = try pickle.className(of: description) ?? []
      guard className.reversed().starts(with: "BytesStorageMetadata".utf8.reversed()) else {
        throw Self.refusal(name, "is described in an unknown way", path)
      }
      return [nil]
    }
    guard shapes.updateValue(size, forKey: name).map({ $0 == size }) ?? true else {
      throw Self.refusal(name, "has different shapes in the ranks' metadata", path)
    }
    guard !chunks.isEmpty || size.contains(0) else {
      throw Self.refusal(name, "has a gap: no slice of it is described", path)
    }
    var slices: [Slice?] = []
    for chunk in chunks {
      guard let start = try pickle.counts(pickle.attribute("offsets", of: chunk)),
        let shape = try pickle.counts(pickle.attribute("sizes", of: chunk))
      else { throw Self.refusal(name, "has a slice that is in no file", path) }
      slices.append(Slice(start: start, shape: shape))
    }
    return slices
  }

  /// The file of an item, and its bytes there.
  private static func place(
    _ place: Pickle.Value, of name: TensorName, _ pickle: inout MeteredPickle, _ path: FilePath
  ) throws(ModelError) -> (file: [UInt8], range: Range<UInt64>) {
    guard let file = try pickle.string(pickle.attribute("relative_path", of: place)),
      let offset = try pickle.count(pickle.attribute("offset", of: place)),
      let length = try pickle.count(pickle.attribute("length", of: place))
    else { throw refusal(name, "has a slice that is in no file", path) }
    // The copy of its name.
    try pickle.pay(for: file.count)
    if let transforms = try pickle.sequence(pickle.attribute("transform_descriptors", of: place)),
      !transforms.isEmpty
    {
      throw refusal(name, "is compressed: save it without extensions", path)
    }
    let (end, overflow) = offset.addingReportingOverflow(length)
    guard !overflow, RootDirectory.contains(file) else {
      throw refusal(name, "has a slice outside of the checkpoint", path)
    }
    return (Array(file), offset..<end)
  }

  private func unknown(_ path: FilePath) -> ModelError {
    ModelError(
      .malformed, path, "this is not the .metadata of a distributed checkpoint (DCP) that is known here")
  }

  /// Counts elements in the whole shape of a tensor of pairs, as ``Slice/unpack()``.
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
