internal import Safetensors
internal import SystemPackage

/// A directory as a source: which of its files make the model.
struct ModelDirectory {
  /// What a directory holds.
  enum Layout {
    /// One file, or several that make one model.
    case files([FilePath])
    /// A sharded set.
    case index(FilePath)
    /// A diffusers pipeline or a TensorRT-LLM checkpoint: several models, by directory name.
    case components([(name: [UInt8], layout: Layout)])
  }

  private let path: FilePath
  /// Names of the entries that are not hidden, in the order of their bytes.
  private let names: [[UInt8]]

  /// Lists a directory: opendir(3), readdir(3).
  init(scanning path: FilePath) throws(ModelError) {
    self.path = path
    names = try path.entries().filter { $0.first != UInt8(ascii: ".") }
  }

  // MARK: - Choosing

  /// Decides what the directory holds, adding to `notes` what it leaves out. The rules, first match wins: rank
  /// files, a pipeline, a file with a model's usual name, an index, the only file that is no part of a split,
  /// several such files, the parts of one split. PyTorch's files are looked at only where nothing is
  /// safetensors, and several of them are not one model.
  func layout(notes: inout [String]) throws(ModelError) -> Layout {
    if let ranks = try rankLayout(notes: &notes) { return ranks }
    if contains("model_index.json"), let pipeline = try pipelineLayout(notes: &notes) { return pipeline }
    return try modelLayout(notes: &notes)
  }

  private func modelLayout(notes: inout [String]) throws(ModelError) -> Layout {
    guard let family = ModelFamily.all.first(where: hasModel) else {
      throw ModelError(.noSource, path, emptyProblem)
    }
    let files = files(of: family)
    var splits: [ShardName.Split: [[UInt8]]] = [:]
    var singles: [[UInt8]] = []
    for file in files {
      if let part = ShardName(file) {
        splits[part.split, default: []].append(file)
      } else {
        singles.append(file)
      }
    }

    if let main = family.mainFiles.first(where: contains) {
      note(leftOut: files.count - 1, of: family, for: main, in: &notes)
      return .files([child(Array(main.utf8))])
    }
    if let index = try chooseIndex(family) { return .index(index) }
    if singles.count == 1, let single = singles.first {
      note(leftOut: files.count - 1, of: family, for: String(decoding: single, as: UTF8.self), in: &notes)
      return .files([child(single)])
    }
    if splits.isEmpty, family.joinsFiles { return .files(singles.map(child)) }
    if singles.isEmpty { return .files(try chooseSplit(splits, of: family, notes: &notes).map(child)) }
    throw ambiguous(singles.map { PrintableText.quoted($0) } + splits.keys.map(\.pattern).sorted())
  }

  private func note(leftOut count: Int, of family: ModelFamily, for chosen: String, in notes: inout [String])
  {
    guard count > 0 else { return }
    notes.append(
      "\(path.printable): the model is \(PrintableText.quoted(chosen)); \(count) other \(family.pattern) "
        + "\(count == 1 ? "file is" : "files are") left out")
  }

  private func ambiguous(_ choices: [String]) -> ModelError {
    ModelError(
      .malformed, path, "it holds more than one model; name one of \(choices.joined(separator: ", "))")
  }

  private func chooseIndex(_ family: ModelFamily) throws(ModelError) -> FilePath? {
    let indexes = names.filter { family.isIndex($0) }
    if let main = family.mainIndexes.first(where: contains) { return child(Array(main.utf8)) }
    guard indexes.count <= 1 else { throw ambiguous(indexes.map { PrintableText.quoted($0) }) }
    return indexes.first.map(child)
  }

  /// The files of the only split, or of the only complete one.
  private func chooseSplit(
    _ splits: [ShardName.Split: [[UInt8]]], of family: ModelFamily, notes: inout [String]
  ) throws(ModelError) -> [[UInt8]] {
    func firstMissing(_ split: ShardName.Split) -> Int? {
      split.firstMissing(from: Set((splits[split] ?? []).compactMap { ShardName($0)?.number }))
    }
    let complete = splits.keys.filter { firstMissing($0) == nil }
    if complete.count == 1, let split = complete.first, let files = splits[split] {
      note(
        leftOut: self.files(of: family).count - files.count, of: family, for: split.prefix + "*", in: &notes)
      return files
    }
    if splits.count == 1, let split = splits.keys.first, let missing = firstMissing(split) {
      throw ModelError(
        .malformed, path,
        "part \(missing) of \(split.total) of \(split.pattern) is missing; fetch it, or name the files to mount"
      )
    }
    throw ambiguous(splits.keys.map(\.pattern).sorted())
  }

  private var emptyProblem: String {
    let others = [".gguf", ".h5"]
    let other = names.first { name in others.contains { name.reversed().starts(with: $0.utf8.reversed()) } }
    let hint = other.map { "; \(PrintableText.quoted($0)) is of another format" } ?? ""
    return "there is no .safetensors file in it, and none of PyTorch's" + hint
  }

  // MARK: - Several models

  /// TensorRT-LLM: `rank0.safetensors`, `rank1.safetensors`, …, which repeat the same tensor names.
  private func rankLayout(notes: inout [String]) throws(ModelError) -> Layout? {
    let ranks: [(number: Int, file: [UInt8])] = files(of: .safetensors).compactMap { file in
      let stem = String(decoding: file.dropLast(".safetensors".utf8.count), as: UTF8.self)
      guard stem.hasPrefix("rank"), let number = Int(stem.dropFirst(4)), "rank\(number)" == stem else {
        return nil
      }
      return (number, file)
    }.sorted { $0.number < $1.number }
    guard !ranks.isEmpty else { return nil }
    for (expected, rank) in ranks.enumerated() where rank.number != expected {
      throw ModelError(
        .malformed, path, "rank\(expected).safetensors is missing, though there are later ranks")
    }
    note(
      leftOut: files(of: .safetensors).count - ranks.count, of: .safetensors, for: "rank*.safetensors",
      in: &notes)
    return .components(ranks.map { (Array("rank\($0.number)".utf8), .files([child($0.file)])) })
  }

  /// diffusers: one subdirectory per component. Those without weights (tokenizer, scheduler) are not shown.
  private func pipelineLayout(notes: inout [String]) throws(ModelError) -> Layout? {
    var components: [(name: [UInt8], layout: Layout)] = []
    for name in names {
      let isDirectory = (try? Stat(child(name)).type) == .directory
      guard isDirectory else { continue }
      let directory = try ModelDirectory(scanning: child(name))
      guard ModelFamily.all.contains(where: directory.hasModel) else { continue }
      components.append((name, try directory.modelLayout(notes: &notes)))
    }
    guard !components.isEmpty else { return nil }
    note(leftOut: files(of: .safetensors).count, of: .safetensors, for: "model_index.json", in: &notes)
    return .components(components)
  }

  // MARK: - Names

  private func files(of family: ModelFamily) -> [[UInt8]] { names.filter(family.isFile) }

  private func hasModel(of family: ModelFamily) -> Bool {
    names.contains { family.isFile($0) || family.isIndex($0) }
  }

  private func contains(_ name: String) -> Bool { names.contains { $0.elementsEqual(name.utf8) } }

  private func child(_ name: [UInt8]) -> FilePath { path.pushing(FilePath(bytes: name)) }
}
