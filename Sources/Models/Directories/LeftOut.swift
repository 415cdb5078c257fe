internal import Safetensors
internal import SystemPackage

// Notes and errors about files in a directory that are not the model.
extension ModelDirectory {
  /// How many names in a directory are looked up as directories of weights. Each takes up to three requests, which are slow on a
  /// network.
  private static let namesLookedUp = 32

  /// Names other entries of the directory that could be taken for the model, or for a part of it; with `all`, directories of
  /// weights too.
  func note(_ chosen: [[UInt8]], for model: [UInt8]?, all: Bool = true, in notes: inout [String]) {
    let chosen = Set(chosen)
    let left = names.filter { !chosen.contains($0) && isLeftOut($0) }
    let what = model.map { "the model is \(PrintableText.quoted($0)); " } ?? ""
    if !left.isEmpty {
      notes.append(
        "\(path.printable): \(what)\(left.count) other \(left.count == 1 ? "file is" : "files are") left out: \(list(left))"
      )
    }
    if all, let clause = Self.clause(leavingOut: directoriesOfWeights) {
      notes.append("\(path.printable): \(what)\(clause)")
    }
  }

  /// The clause of a warning about directories of weights; nil if there are none.
  static func clause(leavingOut directories: [[UInt8]]) -> String? {
    if directories.isEmpty { return nil }
    return
      "weights in \(directories.count == 1 ? "a directory" : "directories") are left out: \(list(directories))"
  }

  /// The directories in this one that hold weights, of any format.
  var directoriesOfWeights: [[UInt8]] {
    let candidates = names.lazy.filter { !isLeftOut($0) && !hasExtension($0) }.prefix(Self.namesLookedUp)
    return Array(candidates).filter { isDirectory($0) && (holdsModel($0) || holdsForeignWeights($0)) }
  }

  /// True for a file of weights, also of an optimizer, and for what a user could take for one.
  func isLeftOut(_ name: [UInt8]) -> Bool {
    ForeignFiles.isWeights(name) || isFamilyFile(name) || isCompanion(name)
  }

  private func isCompanion(_ name: [UInt8]) -> Bool { ModelFamily.all.contains { $0.isCompanion(name) } }

  /// True for a name with an extension, such as `README.md`. Directories rarely have one, and asking takes a request.
  private func hasExtension(_ name: [UInt8]) -> Bool {
    guard let dot = name.lastIndex(of: UInt8(ascii: ".")), dot > 0 else { return false }
    let end = name[(dot + 1)...]
    return !end.isEmpty && end.allSatisfy { 0x61...0x7A ~= $0 | 0x20 }
  }

  func ambiguous(_ choices: [String]) -> ModelError {
    // Layers can be files of their own, hundreds of them.
    let named = 20
    let others = choices.count > named ? " and \(choices.count - named) more" : ""
    var error = ModelError(
      .malformed, path,
      "it holds more than one model; name one of \(choices.prefix(named).joined(separator: ", "))\(others)")
    error.isAmbiguous = true
    return error
  }

  /// The error for a variant that the models do not have.
  func noVariant(_ variant: String, among variants: Set<String>) -> ModelError {
    let nearest = NearestNames.sorted(variants.sorted().map { Array($0.utf8) }, near: Array(variant.utf8))
    return ModelError(
      .noSource, path,
      "no variant \(PrintableText.quoted(variant)) in it; "
        + (nearest.isEmpty ? "it has no variants: leave out --variant" : "its variants are \(list(nearest))"))
  }

  /// The error for a directory without a model.
  var emptyProblem: String {
    var problem = "no .safetensors file and no PyTorch file in it"
    var directories = names.filter { isDirectory($0) && holdsModel($0) }
    if directories.isEmpty { directories = deeperModels }
    let foreign = names.filter {
      !directories.contains($0) && (ForeignFiles.isWeights($0) || isDirectory($0) && holdsForeignWeights($0))
    }
    let companions = names.filter(isCompanion)
    if !foreign.isEmpty {
      problem += "; \(list(foreign, limit: 3)) \(foreign.count == 1 ? "is" : "are") of another format"
    }
    if !companions.isEmpty {
      problem +=
        "; \(list(companions, limit: 3)) \(companions.count == 1 ? "is a file" : "are files") of training: name one to see it"
    }
    if !directories.isEmpty { problem += "; name one of the directories in it: \(list(directories))" }
    return problem
  }

  /// True if a directory in this one seems to hold a model, or a repository of the Hub's cache.
  private func holdsModel(_ name: [UInt8]) -> Bool {
    if name.starts(with: "models--".utf8) { return true }
    guard let directory = try? ModelDirectory(scanning: child(name)) else { return false }
    return directory.hasDistributedMetadata || directory.contains("model_index.json")
      || directory.names.contains(where: directory.isFamilyFile)
  }

  /// Directories with models in the first directories of this one, as Megatron and DeepSpeed nest them.
  private var deeperModels: [[UInt8]] {
    let limit = 8
    return names.lazy.filter(isDirectory).prefix(limit).flatMap { name -> [[UInt8]] in
      guard let directory = try? ModelDirectory(scanning: child(name)) else { return [] }
      return directory.names.lazy.filter(directory.isDirectory).prefix(limit).filter(directory.holdsModel)
        .map { name + "/".utf8 + $0 }
    }
  }

  private func holdsForeignWeights(_ name: [UInt8]) -> Bool {
    (try? child(name).entries())?.contains(where: ForeignFiles.isWeights) == true
  }
}
