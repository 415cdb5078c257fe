internal import PyTorch
internal import Safetensors
internal import SystemPackage

/// The contents of `.metadata` of a torch.distributed checkpoint: torch/distributed/checkpoint/metadata.py. It is a pickle,
/// which is never executed.
struct DistributedMetadata {
  /// A slice, which is a file of torch.save inside another file.
  struct Chunk {
    let name: TensorName
    /// The index of its first element in the whole.
    private(set) var start: [UInt64]
    let shape: [UInt64]
    /// The file below the checkpoint's directory.
    let file: [UInt8]
    let range: Range<UInt64>

    /// Counts elements along the last dimension in place of PyTorch's float4_e2m1fn_x2, which are pairs; false where there is
    /// no such dimension or number.
    mutating func unpack() -> Bool { DistributedMetadata.unpack(&start) }
  }

  private(set) var chunks: [Chunk] = []
  /// The tensors' whole shapes.
  private(set) var shapes: [TensorName: [UInt64]] = [:]
  private(set) var unknownGlobals: [[UInt8]] = []
  /// The tensors whose shapes count elements and no longer pairs.
  private var unpacked: Set<TensorName> = []

  /// The slices of the files that have been read: each rank's own metadata lists replicated tensors, too.
  private var known: Set<Box> = []

  private struct Box: Hashable {
    var name: TensorName
    var start: [UInt64]
    var shape: [UInt64]
  }

  private struct Key: Hashable {
    var name: ArraySlice<UInt8>
    var start: [UInt64]
  }

  /// Adds the contents of one file; with `use_collectives=False` each rank has its own.
  mutating func read(_ path: FilePath) throws(ModelError) {
    let bytes = try SmallFile.bytes(of: path, what: "a checkpoint's metadata")
    let pickle = try ModelError.translating("read", path) { try PickleMachine.read(bytes, at: 0) }
    // Every checkpoint names these classes.
    unknownGlobals += pickle.unknownGlobals.filter { name in
      !["torch.distributed.", "pathlib."].contains { name.starts(with: $0.utf8) }
    }
    guard let tensors = pickle.entries(pickle.attribute("state_dict_metadata", of: pickle.root)),
      let storage = pickle.entries(pickle.attribute("storage_data", of: pickle.root))
    else {
      throw ModelError(
        .malformed, path, "this is not the .metadata of a distributed checkpoint (DCP) that is known here")
    }
    var places: [Key: Pickle.Value] = [:]
    for (key, value) in storage {
      guard let name = pickle.string(pickle.attribute("fqn", of: key)),
        let start = Self.numbers(pickle.attribute("offset", of: key), pickle)
      else { continue }
      places[Key(name: name, start: start)] = value
    }
    // Of one file's own, two of one place overlap.
    let earlier = known
    for (key, value) in tensors {
      // Values other than tensors have no size.
      guard let name = pickle.string(key),
        let chunks = pickle.sequence(pickle.attribute("chunks", of: value)),
        let size = Self.numbers(pickle.attribute("size", of: value), pickle)
      else { continue }
      let tensor = TensorName(utf8: Array(name)[...])
      func refuse(_ clause: String) -> ModelError {
        ModelError(.malformed, path, "tensor \(tensor) of the distributed checkpoint (DCP) \(clause)")
      }
      guard firstInvalidUTF8(Array(name).span) == nil else { throw refuse("has a name that is not UTF-8") }
      guard shapes.updateValue(size, forKey: tensor).map({ $0 == size }) ?? true else {
        throw refuse("has different shapes in the ranks' metadata")
      }
      for chunk in chunks {
        guard let start = Self.numbers(pickle.attribute("offsets", of: chunk), pickle),
          let shape = Self.numbers(pickle.attribute("sizes", of: chunk), pickle),
          let place = places[Key(name: name, start: start)],
          let file = pickle.string(pickle.attribute("relative_path", of: place)),
          let offset = pickle.count(pickle.attribute("offset", of: place)),
          let length = pickle.count(pickle.attribute("length", of: place))
        else { throw refuse("has a slice that is in no file") }
        if let transforms = pickle.sequence(pickle.attribute("transform_descriptors", of: place)),
          !transforms.isEmpty
        {
          throw refuse("is compressed: save it without extensions")
        }
        let (end, overflow) = offset.addingReportingOverflow(length)
        guard !overflow, RootDirectory.contains(file) else {
          throw refuse("has a slice outside of the checkpoint")
        }
        let box = Box(name: tensor, start: start, shape: shape)
        known.insert(box)
        if earlier.contains(box) { continue }
        self.chunks.append(
          Chunk(name: tensor, start: start, shape: shape, file: Array(file), range: offset..<end))
      }
    }
  }

  /// Counts elements in the whole shape of a tensor of pairs, as ``Chunk/unpack()``.
  mutating func unpackShape(of name: TensorName, _ path: FilePath) throws(ModelError) {
    guard unpacked.insert(name).inserted, var shape = shapes[name] else { return }
    guard Self.unpack(&shape) else {
      throw ModelError(
        .malformed, path,
        "tensor \(name) of the distributed checkpoint (DCP) has a shape whose size does not fit in 64 bits")
    }
    shapes[name] = shape
  }

  private static func unpack(_ numbers: inout [UInt64]) -> Bool {
    guard let last = numbers.indices.last else { return false }
    let (count, overflow) = numbers[last].multipliedReportingOverflow(by: 2)
    numbers[last] = count
    return !overflow
  }

  private static func numbers(_ value: Pickle.Value?, _ pickle: Pickle) -> [UInt64]? {
    guard let items = pickle.sequence(value) else { return nil }
    let numbers = items.compactMap { pickle.count($0) }
    return numbers.count == items.count ? numbers : nil
  }
}
