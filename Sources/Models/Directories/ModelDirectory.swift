internal import Linux
internal import Safetensors
internal import SystemPackage

/// A directory as a source: which of its files make the model.
struct ModelDirectory {
  /// The contents of a directory.
  enum Layout {
    /// One file that the user named.
    case file(FilePath)
    /// One file, or several that make one model.
    case files([FilePath])
    /// The index of a sharded set, then the files and the directories of weights beside it, which the index may leave out.
    case index(FilePath, beside: [FilePath], [[UInt8]])
    /// A distributed checkpoint (DCP) in PyTorch's own format, `.metadata` and `*.distcp`.
    case distributed(FilePath)
    /// A diffusers pipeline or a TensorRT-LLM checkpoint: several models, by directory name.
    case components([(name: [UInt8], layout: Layout)])
  }

  let path: FilePath
  /// Names of the entries that are not hidden, in the order of their bytes.
  let names: [[UInt8]]
  /// True if the directory has the hidden file `.metadata`, PyTorch's description of a distributed checkpoint.
  let hasDistributedMetadata: Bool
  let variant: String?

  /// Lists a directory: opendir(3), readdir(3).
  init(scanning path: FilePath, variant: String? = nil) throws(ModelError) {
    self.path = path
    self.variant = variant
    let all = try path.entries()
    names = all.filter { $0.first != UInt8(ascii: ".") }
    hasDistributedMetadata = all.contains { $0.isNamed(".metadata") }
  }

  // MARK: - Choosing

  /// Decides which files are the model, and adds what is left out to `notes`. The first rule that matches wins: rank files, a
  /// pipeline, a distributed checkpoint, the files of one model.
  func layout(notes: inout [String]) throws(ModelError) -> Layout {
    // Ranks and distributed checkpoints have no variants.
    if variant == nil, let ranks = try rankLayout(notes: &notes) { return ranks }
    if contains("model_index.json"), let pipeline = try pipelineLayout(notes: &notes) { return pipeline }
    if variant == nil, let distributed = distributedLayout(notes: &notes) { return distributed }
    try rejectIncompleteMegatron()
    return try modelLayout(notes: &notes)
  }

  /// The files of one model. A model without a variant takes precedence, in safetensors files before PyTorch files; then a
  /// model that exists only as a variant; then an adapter. A missing variant is an error if `requiresVariant` is true.
  func modelLayout(requiresVariant: Bool = true, notes: inout [String]) throws(ModelError) -> Layout {
    if let variant {
      for family in ModelFamily.all {
        let files = Files(self, family) { family.variant(of: $0) == variant }
        if let layout = try layout(of: files, notes: &notes) { return layout }
      }
      if requiresVariant { throw noVariant(variant, among: variants) }
      notes.append(without(variant: variant))
    }
    let plain = ModelFamily.all.map { family in
      Files(self, family) { family.variant(of: $0) == nil && !ModelFamily.isAdapter($0) }
    }
    let variants = ModelFamily.all.map { family in Files(self, family) { family.variant(of: $0) != nil } }
    let adapters = ModelFamily.all.map { family in Files(self, family, where: ModelFamily.isAdapter) }
    // A file with another name does not take precedence over a variant or an adapter.
    let hasOther = !(variants[0].isEmpty && adapters[0].isEmpty)
    for files in plain where files.hasMain || !hasOther {
      if let layout = try layout(of: files, notes: &notes) { return layout }
    }
    for files in variants where !files.isEmpty {
      let found = Set((files.names + files.indexes).compactMap(files.family.variant)).sorted()
      guard found.count == 1 else { throw ambiguous(files.choices) }
      notes.append(onlyVariant(found[0]))
      if let layout = try layout(of: files, notes: &notes) { return layout }
    }
    for files in zip(plain, adapters).flatMap({ [$0, $1] }) {
      if let layout = try layout(of: files, notes: &notes) { return layout }
    }
    throw noModel(nearbyWeights)
  }

  /// The model among files of one format. The first rule that matches wins: a file with a model's usual name, an index, the
  /// slices of a distributed checkpoint, the only file that is not part of a split, several such files, the parts of one split.
  private func layout(of files: Files, notes: inout [String]) throws(ModelError) -> Layout? {
    if let main = files.main {
      note([main], for: main, in: &notes)
      return .files([child(main)])
    }
    if let index = try chooseIndex(files) {
      // Only a reader of the index knows what it leaves out.
      note(files.names, for: index, all: false, in: &notes)
      return .index(child(index), beside: files.names.map(child), directoriesOfWeights)
    }
    if let slices = SlicedFileName.files(among: files.names) {
      if let rank = SlicedFileName.missingRank(in: slices) { notes.append(withoutSlices(of: rank)) }
      note(slices, for: Array("shard-*".utf8), in: &notes)
      return .files(slices.map(child))
    }
    if files.singles.count == 1, let single = files.singles.first {
      note([single], for: single, in: &notes)
      return .files([child(single)])
    }
    if !files.singles.isEmpty, files.splits.isEmpty, files.family.joinsFiles {
      note(files.singles, for: nil, in: &notes)
      return .files(files.singles.map(child))
    }
    if files.splits.isEmpty, files.singles.isEmpty { return nil }
    if files.singles.isEmpty { return .files(try chooseSplit(files, notes: &notes).map(child)) }
    throw ambiguous(files.choices)
  }

  private func chooseIndex(_ files: Files) throws(ModelError) -> [UInt8]? {
    if let main = files.mainIndex { return main }
    // An index with an unusual name counts like the index of a variant.
    let all = files.indexes.isEmpty ? [] : names.filter(files.family.isIndex)
    if variant == nil, all.count > 1 { throw ambiguous(all.map { PrintableText.quoted($0) }) }
    guard files.indexes.count <= 1 else { throw ambiguous(files.indexes.map { PrintableText.quoted($0) }) }
    return files.indexes.first
  }

  /// The files of the only split, or of the only complete split.
  private func chooseSplit(_ files: Files, notes: inout [String]) throws(ModelError) -> [[UInt8]] {
    func firstMissing(_ split: ShardName.Split) -> Int? {
      split.firstMissing(from: Set((files.splits[split] ?? []).compactMap { ShardName($0)?.number }))
    }
    let complete = files.splits.keys.filter { firstMissing($0) == nil }
    if complete.count == 1, let split = complete.first, let parts = files.splits[split] {
      note(parts, for: Array(split.name(of: "*").utf8), in: &notes)
      return parts
    }
    if files.splits.count == 1, let split = files.splits.keys.first, let missing = firstMissing(split) {
      let width = (files.splits[split] ?? []).compactMap { ShardName($0)?.numberWidth }.min() ?? 0
      throw self.missing(part: missing, of: split, width: width)
    }
    throw ambiguous(files.splits.keys.map(\.pattern).sorted())
  }

  // MARK: - Names

  /// The variants of the models in the directory.
  var variants: Set<String> {
    Set(
      ModelFamily.all.flatMap { family in
        names.filter { family.isFile($0) || family.isIndex($0) }.compactMap(family.variant)
      })
  }

  func isFamilyFile(_ name: [UInt8]) -> Bool { ModelFamily.all.contains { $0.isFile(name) } }

  func contains(_ name: String) -> Bool { names.contains { $0.isNamed(name) } }

  func isDirectory(_ name: [UInt8]) -> Bool { (try? Stat(child(name)).type) == .directory }

  func child(_ name: [UInt8]) -> FilePath { path.pushing(FilePath(bytes: name)) }

  // MARK: - Several models

  /// The ranks of a TensorRT-LLM checkpoint, `rank0.safetensors`, `rank1.safetensors`, …. All ranks have the same tensor names.
  private func rankLayout(notes: inout [String]) throws(ModelError) -> Layout? {
    let ranks: [(number: Int, file: [UInt8])] = names.filter(ModelFamily.safetensors.isFile).compactMap {
      file in
      let stem = String(decoding: file.dropLast(".safetensors".utf8.count), as: UTF8.self)
      guard stem.hasPrefix("rank"), let number = Int(stem.dropFirst(4)),
        file.isNamed("rank\(number).safetensors")
      else {
        return nil
      }
      return (number, file)
    }.sorted { $0.number < $1.number }
    guard !ranks.isEmpty else { return nil }
    for (expected, rank) in ranks.enumerated() where rank.number != expected {
      throw missing(rank: expected)
    }
    note(ranks.map(\.file), for: Array("rank*.safetensors".utf8), in: &notes)
    return .components(ranks.map { (Array("rank\($0.number)".utf8), .files([child($0.file)])) })
  }

  /// A distributed checkpoint. Whole safetensors files beside it were converted from it, and take precedence.
  private func distributedLayout(notes: inout [String]) -> Layout? {
    let isRankMetadata = { (name: [UInt8]) in
      name.starts(with: "__".utf8) && name.hasSuffix(ignoringCase: ".metadata")
    }
    let parts = names.filter { $0.hasSuffix(ignoringCase: ".distcp") || isRankMetadata($0) }
    guard hasDistributedMetadata || !parts.isEmpty, !names.contains(where: ModelFamily.safetensors.isFile)
    else { return nil }
    note(parts, for: Array("*.distcp".utf8), in: &notes)
    return .distributed(path)
  }

  /// Throws for a Megatron checkpoint without its tensors. `common.pt` alone has only what all ranks share.
  private func rejectIncompleteMegatron() throws(ModelError) {
    guard contains("common.pt"), contains("metadata.json"),
      !names.contains(where: ModelFamily.safetensors.isFile)
    else { return }
    let description = try SmallFile.bytes(of: path.appending("metadata.json"), what: "a description")
    guard description.firstRange(of: Array("\"sharded_backend\"".utf8)) != nil else { return }
    throw megatronWithoutTensors
  }
}
