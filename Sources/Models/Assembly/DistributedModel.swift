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

    // The tensors of an object are known only after it was read; they can have the names of others.
    let candidates = DistributedClashes.candidates(among: metadata.items)
    let items = metadata.items.filter {
      $0.slice == nil || isChosen($0.name) || candidates.contains($0.name)
    }
    var parts: [DistributedFile] = []
    var positions: [[UInt8]: Int] = [:]
    let boundary = try SourceBoundary(path)
    for (file, items) in Dictionary(grouping: items, by: \.file).sorted(by: {
      compareBytes($0.key[...], $1.key[...]) < 0
    }) {
      let full = path.pushing(FilePath(bytes: file))
      try boundary.check(full)
      positions[file] = parts.count
      parts.append(try DistributedFile(opening: full, items, isChosen))
    }
    let clashes = DistributedClashes(parts, items)
    var shards: [Shard] = []
    var slices: [Assembler.Slice] = []
    var shapes: [TensorName: [UInt64]] = [:]
    var omitted: Set<TensorName> = []
    for position in parts.indices {
      try clashes.rename(in: &parts[position])
      let file = parts[position]
      let (header, order) = file.header()
      for (index, entry) in order.map({ file.entries[$0] }).enumerated() {
        let name = header.name(at: index)
        guard isChosen(name) else { continue }
        let place = Place(shard: Int32(position), index: Int32(index))
        slices.append(Assembler.Slice(name: name, place: place, start: entry.start))
        guard entry.start != nil else { continue }
        if header[index].dtype == .f4 { try metadata.unpackShape(of: entry.item, path) }
        shapes[name] = metadata.shapes[entry.item]
      }
      let isFirst = shards.isEmpty
      shards.append(
        Shard(
          // All slices of a tensor are left out for the same reason.
          file.file, header: header, omitted: file.omitted.filter { omitted.insert($0.name).inserted },
          unknownGlobals: (isFirst ? metadata.unknownGlobals : []) + file.unknownGlobals,
          notes: (isFirst ? NameClash.notes(of: clashes.clashes) : []) + file.notes))
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
    try assembler.add(slices, shapes: shapes)
    self = try assembler.model()
  }
}
