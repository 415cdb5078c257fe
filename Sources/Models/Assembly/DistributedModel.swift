internal import Linux
internal import Safetensors
internal import SystemPackage

extension Model {
  /// The model of a checkpoint of torch.distributed in its own files: `.metadata`, or one `__RANK.metadata` for each rank, and
  /// the files that it names.
  init(distributed path: FilePath, _ options: OpeningOptions, _ isChosen: (TensorName) -> Bool)
    throws(ModelError)
  {
    var metadata = DistributedMetadata()
    let names = try path.entries()
    let own = names.filter { $0.isNamed(".metadata") }
    let files = own.isEmpty ? names.filter { $0.hasSuffix(ignoringCase: ".metadata") } : own
    guard !files.isEmpty else {
      throw ModelError(
        .malformed, path,
        "this is a distributed checkpoint (DCP) of PyTorch without its .metadata, a hidden file: download that too"
      )
    }
    for file in files { try metadata.read(path.pushing(FilePath(bytes: file))) }

    // The tensors of an object are known only after it was read.
    let items = metadata.items.filter { $0.slice == nil || isChosen($0.name) }
    var shards: [Shard] = []
    var positions: [[UInt8]: Int] = [:]
    var slices: [Assembler.Slice] = []
    var omitted: Set<TensorName> = []
    let boundary = try SourceBoundary(path)
    for (file, items) in Dictionary(grouping: items, by: \.file).sorted(by: {
      compareBytes($0.key[...], $1.key[...]) < 0
    }) {
      let full = path.pushing(FilePath(bytes: file))
      try boundary.check(full)
      let read = try DistributedFile(opening: full, items, isChosen)
      for (index, start) in read.starts.enumerated() {
        let name = read.header.name(at: index)
        guard isChosen(name) else { continue }
        let place = Place(shard: Int32(shards.count), index: Int32(index))
        slices.append(Assembler.Slice(name: name, place: place, start: start))
        if start != nil, read.header[index].dtype == .f4 { try metadata.unpackShape(of: name, path) }
      }
      positions[file] = shards.count
      shards.append(
        Shard(
          // All slices of a tensor are left out for the same reason.
          read.file, header: read.header, omitted: read.omitted.filter { omitted.insert($0.name).inserted },
          unknownGlobals: (shards.isEmpty ? metadata.unknownGlobals : []) + read.unknownGlobals,
          notes: read.notes))
    }
    // Each rank may have described its own objects: those of the first are shown.
    for copy in items {
      guard let original = copy.original.map({ metadata.items[$0] }), let own = positions[copy.file],
        let other = positions[original.file],
        try !DistributedFile.areSame(copy, shards[own].file, original, shards[other].file)
      else { continue }
      shards[own].omitted += try DistributedFile.omissions(ofCopy: copy, shards[own].file).filter {
        isChosen($0.name) && omitted.insert($0.name).inserted
      }
    }
    guard !slices.isEmpty || !metadata.shapes.isEmpty || !omitted.isEmpty else {
      throw ModelError(.malformed, path, "this distributed checkpoint (DCP) of PyTorch holds no tensor")
    }
    shards.makeNamesUnique()
    var assembler = Assembler(shards, path)
    try assembler.add(slices, shapes: metadata.shapes)
    self = try assembler.model()
  }
}
