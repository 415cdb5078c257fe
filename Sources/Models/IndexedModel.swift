internal import Linux
internal import Safetensors
internal import SystemPackage

extension Model {
  /// The model of a sharded set. `path` is that of its index, and the shards are in the index's directory. `others` are files there
  /// that may belong to the model, and `directories` have weights.
  init(
    index path: FilePath, beside others: [FilePath], directories: [[UInt8]] = [], _ options: OpeningOptions,
    _ isChosen: (TensorName) -> Bool = { _ in true }
  ) throws(ModelError) {
    let index = try ModelIndex(opening: path)
    var set = IndexedShards(index, path)
    try set.open(lenient: options.isLenient, isChosen)
    try set.find(lenient: options.isLenient, isChosen)
    try set.add(others, all: options.showsAll, lenient: options.isLenient, isChosen)
    set.warn(about: directories)
    set.shards.makeNamesUnique()
    self.init(
      shards: set.shards, places: set.places, warnings: set.shards.flatMap(\.warnings) + set.warnings,
      omitted: set.omitted)
  }
}

/// Opens the shards of an index, and finds the model's tensors in them.
private struct IndexedShards {
  private let index: ModelIndex
  private let path: FilePath
  var shards: [Shard] = []
  private(set) var places: [Model.Place] = []
  private(set) var omitted: [OmittedTensor] = []
  private(set) var warnings: [String] = []

  init(_ index: ModelIndex, _ path: FilePath) {
    self.index = index
    self.path = path
  }

  // MARK: The files

  mutating func open(lenient: Bool, _ isChosen: (TensorName) -> Bool) throws(ModelError) {
    let directory = path.removingLastComponent()
    let boundary = try SourceBoundary(directory)
    let paths = index.shards.map { directory.pushing(FilePath(bytes: $0)) }
    let results = Shard.opening(paths, lenient: lenient) { shard throws(ModelError) in
      try boundary.check(shard)
    }
    for (position, result) in results.enumerated() {
      let shardPath = paths[position]
      do throws(ModelError) {
        try append(try result.get().choosing(isChosen))
      } catch {
        guard error.kind == .noSource, error.path == shardPath else { throw error }
        let users = index.tensors.filter { $0.shard == position }
        let example = users.first.map { ", such as \($0.name)" } ?? ""
        throw ModelError(
          .malformed, shardPath,
          "the shard is missing, and the index \(path.printable) puts "
            + PrintableText.counted(users.count, "tensor") + " into it"
            + example + "; \(error.problem); download it, or name the shards that are here")
      }
    }
  }

  /// Adds a shard, and removes the description of slices that torch also writes into files of whole tensors. Warns if the tensors
  /// are slices.
  private mutating func append(_ shard: Shard) throws(ModelError) {
    shards.append(shard)
    guard let info = try ShardingInfo(of: shard) else { return }
    shards[shards.count - 1].header.removeMetadata(ShardingInfo.keys)
    if info.starts.values.contains(where: { $0.contains { $0 > 0 } }) {
      warnings.append(
        "\(shard.file.path.printable): tensors in this file of a distributed checkpoint (DCP) are slices, and the index names "
          + "one file for each; remove the index to see them whole")
    }
  }

  // MARK: The tensors

  /// Looks up each tensor of the index in its shard.
  mutating func find(lenient: Bool, _ isChosen: (TensorName) -> Bool) throws(ModelError) {
    // A dictionary for each shard, because an index can name many tensors that a shard omits.
    var unshown: [Int: [TensorName: OmittedTensor]] = [:]
    var missing: [TensorName] = []
    for (name, position) in index.tensors where isChosen(name) {
      if let found = shards[position].header.index(of: name) {
        places.append(Model.Place(shard: Int32(position), index: Int32(found)))
        continue
      }
      if unshown[position] == nil {
        let all = shards[position].omitted.map { ($0.name, $0) }
        unshown[position] = Dictionary(all, uniquingKeysWith: { first, _ in first })
      }
      if let known = unshown[position]?[name] {
        omitted.append(known)
        continue
      }
      guard lenient else {
        throw ModelError(
          .malformed, shards[position].file.path,
          "tensor \(name) is missing, though the index \(path.printable) puts it here; --lenient shows the others"
        )
      }
      missing.append(name)
      omitted.append(
        OmittedTensor(name: name, reason: "is missing in \(shards[position].file.path.printable)"))
    }
    if !missing.isEmpty {
      warnings.append(
        "\(path.printable): the shards lack \(PrintableText.counted(missing.count, "tensor")) that the index names: "
          + list(missing.map(\.utf8)))
    }
  }

  /// Adds the tensors of the shards, and the files beside them, that the index does not name. Unless `all` is set, only warns about
  /// them.
  mutating func add(
    _ files: [FilePath], all: Bool, lenient: Bool, _ isChosen: (TensorName) -> Bool
  ) throws(ModelError) {
    let named = Set(index.shards)
    let others = files.filter { !named.contains($0.fileName) }
    var extras = unnamedPlaces().filter { isChosen(name(of: $0)) }
    guard all else {
      if !extras.isEmpty {
        warnings.append(
          "\(path.printable): the shards hold \(PrintableText.counted(extras.count, "tensor")) that the index does not name: "
            + "\(list(extras.map { name(of: $0).utf8 })); left out, --all shows them")
      }
      if !others.isEmpty {
        warnings.append(
          "\(path.printable): the index does not name \(others.count) other \(others.count == 1 ? "file" : "files"): "
            + "\(list(others.map(\.fileName))); left out, --all shows \(others.count == 1 ? "it" : "them")")
      }
      return
    }
    for result in Shard.opening(others, lenient: lenient) {
      try append(try result.get().choosing(isChosen))
      omitted += shards[shards.count - 1].omitted
      let position = Int32(shards.count - 1)
      extras += (0..<shards[shards.count - 1].header.count).map {
        Model.Place(shard: position, index: Int32($0))
      }.filter { isChosen(name(of: $0)) }
    }
    // If the index has a tensor of the same name, the index decides.
    var taken = Set(index.tensors.lazy.map(\.name))
    let clashing = extras.filter { !taken.insert(name(of: $0)).inserted }
    if !clashing.isEmpty {
      warnings.append(
        "\(path.printable): \(PrintableText.counted(clashing.count, "tensor")) left out, since the index puts the names into "
          + "other files: \(list(clashing.map { name(of: $0).utf8 }))")
    }
    let left = Set(clashing)
    places = (places + extras.filter { !left.contains($0) }).sorted { name(of: $0) < name(of: $1) }
  }

  /// Warns about directories of weights in which the index names no shard.
  mutating func warn(about directories: [[UInt8]]) {
    let used = Set(index.shards.map { $0.prefix { $0 != UInt8(ascii: "/") } })
    let left = directories.filter { !used.contains($0[...]) }
    if !left.isEmpty { warnings.append("\(path.printable): \(ModelDirectory.clause(leavingOut: left))") }
  }

  private func unnamedPlaces() -> [Model.Place] {
    let named = Set(places)
    return shards.indices.flatMap { position in
      (0..<shards[position].header.count).lazy.map { Model.Place(shard: Int32(position), index: Int32($0)) }
        .filter { !named.contains($0) }
    }
  }

  private func name(of place: Model.Place) -> TensorName {
    shards[Int(place.shard)].header.name(at: Int(place.index))
  }
}
