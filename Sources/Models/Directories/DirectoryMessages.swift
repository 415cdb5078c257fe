internal import Safetensors
internal import SystemPackage

// What is said about a directory. What it is, ModelDirectory.swift, Pipeline.swift and NearbyWeights.swift decide.

// MARK: - Warnings

extension ModelDirectory {
  /// Files that could be taken for the model, or for a part of it; `model` is what was chosen, if it has one name.
  func leftOut(_ files: [[UInt8]], model: [UInt8]?) -> String {
    "\(path.printable): \(Self.clause(model))\(files.count) other \(files.count == 1 ? "file is" : "files are") left out: "
      + list(files)
  }

  /// Directories of weights beside the model.
  func leftOut(directories: [[UInt8]], model: [UInt8]?) -> String {
    "\(path.printable): \(Self.clause(model))\(Self.clause(leavingOut: directories))"
  }

  private static func clause(_ model: [UInt8]?) -> String {
    model.map { "the model is \(PrintableText.quoted($0)); " } ?? ""
  }

  /// The clause of a warning about directories of weights, of which there is at least one.
  static func clause(leavingOut directories: [[UInt8]]) -> String {
    "weights in \(directories.count == 1 ? "a directory" : "directories") are left out: \(list(directories))"
  }

  func onlyVariant(_ variant: String) -> String {
    "\(path.printable): only the variant \(PrintableText.quoted(variant)) is in it"
  }

  /// A component without the variant that others have.
  func without(variant: String) -> String {
    "\(path.printable): no variant \(PrintableText.quoted(variant)) in it"
  }

  /// The files of a rank may have had nothing to hold, or they are missing.
  func withoutSlices(of rank: Int) -> String {
    "\(path.printable): rank \(rank) of the distributed checkpoint has no file; if one is missing, tensors lack slices"
  }

  // MARK: Pipelines

  /// A component whose weights have another format.
  func leftOut(component: [UInt8], foreign files: [[UInt8]]) -> String {
    "\(child(component).printable): left out, \(list(files, limit: 3)) is of another format"
  }

  /// A component that has a configuration alone.
  func leftOut(componentWithoutWeights component: [UInt8]) -> String {
    "\(child(component).printable): left out, no weights in it beside 'config.json'; download them"
  }

  /// A component that could not be decided.
  func leftOut(undecided error: ModelError) -> String { "\(error.description); the component is left out" }

  func missing(components: [[UInt8]]) -> String {
    "\(path.printable): 'model_index.json' names \(PrintableText.counted(components.count, "component")) missing here: "
      + "\(list(components)); download \(components.count == 1 ? "it" : "them")"
  }

  /// Files and directories of weights that are no component.
  func leftOut(besideComponents entries: [[UInt8]]) -> String {
    "\(path.printable): the models are what 'model_index.json' names; \(entries.count) other "
      + "\(entries.count == 1 ? "entry is" : "entries are") left out: \(list(entries))"
  }
}

// MARK: - Errors

extension ModelDirectory {
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

  /// A variant that the models do not have.
  func noVariant(_ variant: String, among variants: Set<String>) -> ModelError {
    let nearest = NearestNames.sorted(variants.sorted().map { Array($0.utf8) }, near: Array(variant.utf8))
    return ModelError(
      .noSource, path,
      "no variant \(PrintableText.quoted(variant)) in it; "
        + (nearest.isEmpty ? "it has no variants: leave out --variant" : "its variants are \(list(nearest))"))
  }

  /// A split of which a part is missing; `width` is how many digits numbers have in the names of the others.
  func missing(part: Int, of split: ShardName.Split, width: Int) -> ModelError {
    let name = PrintableText.quoted(split.name(of: part, width: width))
    return ModelError(
      .malformed, path,
      "part \(part) of \(split.total) is missing: \(name); download it, or name the files to mount")
  }

  func missing(rank: Int) -> ModelError {
    ModelError(.malformed, path, "rank\(rank).safetensors is missing, though there are later ranks")
  }

  var megatronWithoutTensors: ModelError {
    ModelError(
      .malformed, path,
      "this is a checkpoint of Megatron without tensors in its format torch_dist ('.metadata', '*.distcp'): download them, "
        + "or convert it to that format"
    )
  }

  /// A directory without a model, which has these instead.
  func noModel(_ nearby: NearbyWeights) -> ModelError {
    var problem = "no .safetensors file and no PyTorch file in it"
    if !nearby.foreign.isEmpty {
      problem +=
        "; \(list(nearby.foreign, limit: 3)) \(nearby.foreign.count == 1 ? "is" : "are") of another format"
    }
    if !nearby.companions.isEmpty {
      problem +=
        "; \(list(nearby.companions, limit: 3)) \(nearby.companions.count == 1 ? "is a file" : "are files") of training: "
        + "name one to see it"
    }
    if !nearby.models.isEmpty { problem += "; name one of the directories in it: \(list(nearby.models))" }
    if nearby.skipped > 0 {
      problem += "; \(PrintableText.counted(nearby.skipped, "more name")) not looked up"
    }
    return ModelError(.noSource, path, problem)
  }
}
