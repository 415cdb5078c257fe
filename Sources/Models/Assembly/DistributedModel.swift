internal import Linux
internal import Safetensors
internal import SystemPackage

extension Model {
  /// Opens a distributed checkpoint in PyTorch's own format: `.metadata`, or one `__RANK.metadata` for each
  /// rank, and the files that these name.
  init(distributed path: FilePath, _ options: OpeningOptions, _ isChosen: (TensorName) -> Bool)
    throws(ModelError)
  {
    var set = DistributedShards(try DistributedMetadata(in: path), path, isChosen)
    try set.open(isChosen)
    try set.omitCopies(isChosen)
    self = try set.model()
  }
}

extension DistributedMetadata {
  fileprivate init(in directory: FilePath) throws(ModelError) {
    self.init()
    let names = try directory.entries()
    let own = names.filter { $0.isNamed(".metadata") }
    let files = own.isEmpty ? names.filter { $0.hasSuffix(ignoringCase: ".metadata") } : own
    guard !files.isEmpty else {
      throw ModelError(
        .malformed, directory,
        "this distributed checkpoint (DCP) of PyTorch lacks .metadata, a hidden file; download it too"
      )
    }
    for file in files { try read(directory.pushing(FilePath(bytes: file))) }
  }
}

/// Opens the files of a checkpoint as shards, and makes a model of them.
private struct DistributedShards {
  private var metadata: DistributedMetadata
  private let path: FilePath
  /// The items that contain chosen tensors or can contain them.
  private let items: [DistributedMetadata.Item]
  private var shards: [Shard] = []
  /// The position of each file's shard.
  private var positions: [[UInt8]: Int] = [:]
  private var slices: [Assembler.Slice] = []
  private var shapes: [TensorName: [UInt64]] = [:]
  /// The omitted tensors. All slices of a tensor have the same reason, so the first one counts.
  private var omitted: Set<TensorName> = []

  init(_ metadata: DistributedMetadata, _ path: FilePath, _ isChosen: (TensorName) -> Bool) {
    self.metadata = metadata
    self.path = path
    // Only reading an object tells which tensors it has, and they can share names with other tensors.
    let candidates = DistributedClashes.candidates(among: metadata.items)
    items = metadata.items.filter { $0.slice == nil || isChosen($0.name) || candidates.contains($0.name) }
  }

  /// Opens the files, and adds a shard for each.
  mutating func open(_ isChosen: (TensorName) -> Bool) throws(ModelError) {
    var files: [DistributedFile] = []
    let boundary = try SourceBoundary(path)
    for (file, items) in Dictionary(grouping: items, by: \.file).sorted(by: {
      compareBytes($0.key[...], $1.key[...]) < 0
    }) {
      let full = path.pushing(FilePath(bytes: file))
      try boundary.check(full)
      positions[file] = files.count
      files.append(try DistributedFile(opening: full, items, isChosen))
    }
    let clashes = DistributedClashes(files, items)
    for position in files.indices {
      try clashes.rename(in: &files[position])
      let isFirst = position == 0
      try add(
        files[position], unknownGlobals: isFirst ? metadata.unknownGlobals : [],
        notes: isFirst ? NameClash.notes(of: clashes.clashes) : [], isChosen)
    }
  }

  /// Adds a file's shard and slices. `unknownGlobals` and `notes` are those of the whole checkpoint.
  private mutating func add(
    _ file: DistributedFile, unknownGlobals: [[UInt8]], notes: [String], _ isChosen: (TensorName) -> Bool
  ) throws(ModelError) {
    let (header, order) = file.header()
    for (index, entry) in order.map({ file.entries[$0] }).enumerated() {
      let name = header.name(at: index)
      guard isChosen(name) else { continue }
      let place = Model.Place(shard: Int32(shards.count), index: Int32(index))
      slices.append(Assembler.Slice(name: name, place: place, start: entry.start))
      guard entry.start != nil else { continue }
      if header[index].dtype == .f4 { try metadata.unpackShape(of: entry.item, path) }
      shapes[name] = metadata.shapes[entry.item]
    }
    let left = file.omitted.filter { omitted.insert($0.name).inserted }
    shards.append(
      Shard(
        file.file, header: header, omitted: left, unknownGlobals: unknownGlobals + file.unknownGlobals,
        notes: notes + file.notes))
  }

  /// Omits the tensors of objects that differ between ranks. Only the first rank's object is shown.
  mutating func omitCopies(_ isChosen: (TensorName) -> Bool) throws(ModelError) {
    for copy in items {
      guard let original = copy.original.map({ metadata.items[$0] }), let own = positions[copy.file],
        let other = positions[original.file],
        try !DistributedFile.areSame(copy, shards[own].file, original, shards[other].file)
      else { continue }
      let left = try DistributedFile.omissions(ofCopy: copy, shards[own].file).filter {
        isChosen($0.name) && omitted.insert($0.name).inserted
      }
      shards[own].omitted += left
    }
  }

  /// The model of all shards that were added.
  mutating func model() throws(ModelError) -> Model {
    guard !slices.isEmpty || !metadata.shapes.isEmpty || !omitted.isEmpty else {
      throw ModelError(.malformed, path, "no tensor in this distributed checkpoint (DCP) of PyTorch")
    }
    shards.makeNamesUnique()
    var assembler = Assembler(shards, path)
    try assembler.add(slices, shapes: shapes)
    return try assembler.model()
  }
}
