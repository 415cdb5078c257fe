package import Safetensors
internal import SystemPackage

/// The tensors of one model: of one file, or of the shards of a set.
package struct Model: Sendable {
  /// A tensor's place: `shard` in ``Model/shards``, `index` in that shard's header.
  package struct Place: Hashable, Sendable {
    /// The position of the shard.
    package let shard: Int32
    /// The position in the shard's header.
    package let index: Int32
  }

  /// The shards that have the tensors.
  package let shards: [Shard]
  /// The tensors that the model shows, in the order of their names by UTF-8 bytes; names are unique.
  package let places: [Place]
  /// Warnings about a valid model, one line each; safe to print.
  package let warnings: [String]

  /// The same model with only the chosen tensors.
  package func keeping(_ isChosen: (TensorName) -> Bool) -> Model {
    Model(
      shards: shards, places: places.filter { isChosen(name(at: $0)) }, warnings: warnings,
      omitted: omitted.filter { isChosen($0.name) })
  }

  /// The shard that holds the tensor at `place`.
  package func shard(at place: Place) -> Shard { shards[Int(place.shard)] }
  /// The tensor at `place`.
  package func tensor(at place: Place) -> Tensor { shard(at: place).header[Int(place.index)] }
  /// The name of the tensor at `place`.
  package func name(at place: Place) -> TensorName { shard(at: place).header.name(at: Int(place.index)) }

  /// The range of a file with the bytes of the tensor at `place`; nil if they are not contiguous in one file.
  package func storedRange(at place: Place) -> FileRange? {
    let shard = Int(place.shard)
    guard case .file = shards[shard].contents,
      let range = shards[shard].header.contiguousRange(at: Int(place.index))
    else {
      return nil
    }
    return FileRange(range, of: shards[shard].file)
  }

  /// The tensors that the sources name but the model does not show. A conversion would lose them.
  package let omitted: [OmittedTensor]

  /// The full names of the unknown classes and functions in the sources' pickles, each once. Not necessarily
  /// UTF-8.
  package var unknownGlobals: [[UInt8]] {
    var seen: Set<[UInt8]> = []
    return shards.flatMap(\.unknownGlobals).filter { seen.insert($0).inserted }
  }

  /// The sum of the tensors' sizes, in bytes; `UInt64.max` if it is larger, which is possible if tensors repeat
  /// the same bytes.
  package var totalSize: UInt64 { places.lazy.map { tensor(at: $0).byteCount }.clampedSum }
}

// MARK: - Opening

extension Model {
  /// A model of one file, or the union of several files without common tensor names. Slices of a distributed
  /// checkpoint are assembled.
  init(
    files paths: [FilePath], _ options: OpeningOptions, _ isChosen: (TensorName) -> Bool = { _ in true }
  ) throws(ModelError) {
    var shards: [Shard] = []
    for result in Shard.opening(paths, lenient: options.isLenient) {
      shards.append(try result.get().choosing(isChosen))
    }
    shards.makeNamesUnique()
    var slices: [Assembler.Slice] = []
    for position in shards.indices {
      let info = try ShardingInfo(of: shards[position])
      // The entry describes slices, but the model shows whole tensors.
      if info != nil { shards[position].header.removeMetadata(ShardingInfo.keys) }
      for index in 0..<shards[position].header.count {
        let name = shards[position].header.name(at: index)
        guard isChosen(name) else { continue }
        // A header of 100 MB has fewer than 2^31 tensors, and a process fewer descriptors.
        let place = Place(shard: Int32(position), index: Int32(index))
        slices.append(Assembler.Slice(name: name, place: place, start: info?.starts[name]))
      }
    }
    var assembler = Assembler(shards, shards[0].file.path.removingLastComponent())
    try assembler.add(slices)
    self = try assembler.model()
  }

  /// A model of one file that the user named. If it belongs to a distributed checkpoint, the model has its slices.
  init(file path: FilePath, _ options: OpeningOptions, _ isChosen: (TensorName) -> Bool) throws(ModelError) {
    let shard = try Shard(opening: path, lenient: options.isLenient).choosing(isChosen)
    var warnings = shard.warnings
    if try ShardingInfo(of: shard) != nil {
      warnings.append(
        "\(path.printable): this is one file of a distributed checkpoint (DCP), and its tensors may be slices; name "
          + "the directory to see them whole")
    }
    self.init(
      shards: [shard],
      places: (0..<shard.header.count).filter { isChosen(shard.header.name(at: $0)) }
        .map { Place(shard: 0, index: Int32($0)) },
      warnings: warnings, omitted: shard.omitted)
  }
}
