internal import Safetensors
internal import SystemPackage

// The messages about directories. ModelDirectory.swift, Pipeline.swift and NearbyWeights.swift decide which one applies.

// MARK: - Warnings

extension ModelDirectory {
  /// A warning about files that a user could take for the model or a part of it. `model` is the name of the chosen model, if
  /// it has one name.
  func leftOut(_ files: [[UInt8]], model: [UInt8]?) -> String {
    "\(path.printable): \(Self.clause(model))\(files.count) other \(files.count == 1 ? "file is" : "files are") left out: "
      + list(files)
  }

  /// A warning about directories of weights beside the model.
  func leftOut(directories: [[UInt8]], model: [UInt8]?) -> String {
    "\(path.printable): \(Self.clause(model))\(Self.clause(leavingOut: directories))"
  }

  private static func clause(_ model: [UInt8]?) -> String {
    model.map { "the model is \(PrintableText.quoted($0)); " } ?? ""
  }

  /// The clause of that warning; `directories` must not be empty.
  static func clause(leavingOut directories: [[UInt8]]) -> String {
    "weights in \(directories.count == 1 ? "a directory" : "directories") are left out: \(list(directories))"
  }

  func onlyVariant(_ variant: String) -> String {
    "\(path.printable): it has only the variant \(PrintableText.quoted(variant)), which is shown"
  }

  /// A warning about a component without the variant that other components have.
  func without(variant: String) -> String {
    "\(path.printable): no variant \(PrintableText.quoted(variant)) in it; shown without one"
  }

  /// A warning about a rank without files: it had nothing to write, or its files are missing.
  func withoutSlices(of rank: Int) -> String {
    "\(path.printable): rank \(rank) of the distributed checkpoint has no file; download it if the checkpoint has one"
  }

  // MARK: Pipelines

  /// A warning about a component whose weights have an unsupported format.
  func leftOut(component: [UInt8], foreign files: [[UInt8]]) -> String {
    "\(child(component).printable): left out, unsupported format: \(list(files, limit: 3))"
  }

  /// A warning about a component that has a configuration but no weights.
  func leftOut(componentWithoutWeights component: [UInt8]) -> String {
    "\(child(component).printable): left out, no weights in it beside 'config.json'; download them"
  }

  /// A warning about a component in which no model could be chosen; `error` says why.
  func leftOut(undecided error: ModelError) -> String { "\(error.description); the component is left out" }

  func missing(components: [[UInt8]]) -> String {
    "\(path.printable): 'model_index.json' names \(PrintableText.counted(components.count, "component")) missing here: "
      + "\(list(components)); download \(components.count == 1 ? "it" : "them")"
  }

  /// A warning about files and directories of weights that are not components.
  func leftOut(besideComponents entries: [[UInt8]]) -> String {
    "\(path.printable): 'model_index.json' names the models; \(entries.count) other "
      + "\(entries.count == 1 ? "entry is" : "entries are") left out: \(list(entries))"
  }
}

// MARK: - Errors

extension ModelDirectory {
  func ambiguous(_ choices: [String]) -> ModelError {
    // Some exporters write a file for each layer, so there can be hundreds.
    let named = 20
    let others = choices.count > named ? " and \(choices.count - named) more" : ""
    var error = ModelError(
      .malformed, path,
      "it holds more than one model; name one of \(choices.prefix(named).joined(separator: ", "))\(others)")
    error.isAmbiguous = true
    return error
  }

  /// The error for a variant that no model has.
  func noVariant(_ variant: String, among variants: Set<String>) -> ModelError {
    let nearest = NearestNames.sorted(variants.sorted().map { Array($0.utf8) }, near: Array(variant.utf8))
    return ModelError(
      .noSource, path,
      "no variant \(PrintableText.quoted(variant)) in it; "
        + (nearest.isEmpty ? "it has no variants: leave out --variant" : "its variants are \(list(nearest))"))
  }

  /// The error for a split model without one of its parts; `width` is the number of digits in the names of the other parts.
  func missing(part: Int, of split: ShardName.Split, width: Int) -> ModelError {
    let name = PrintableText.quoted(split.name(of: part, width: width))
    return ModelError(
      .malformed, path,
      "part \(part) of \(split.total) is missing: \(name); download it, or name the files to mount")
  }

  func missing(rank: Int) -> ModelError {
    ModelError(
      .malformed, path, "rank\(rank).safetensors is missing, though there are later ranks; download it")
  }

  var megatronWithoutTensors: ModelError {
    ModelError(
      .malformed, path,
      "this is a checkpoint of Megatron without tensors in the format torch_dist ('.metadata', '*.distcp'); download them, "
        + "or convert it to torch_dist"
    )
  }

  /// The error for a directory without a model; names what it has instead.
  func noModel(_ nearby: NearbyWeights) -> ModelError {
    var problem = "no .safetensors file and no PyTorch file in it"
    if !nearby.foreign.isEmpty {
      problem +=
        "; \(list(nearby.foreign, limit: 3)) \(nearby.foreign.count == 1 ? "has" : "have") an unsupported format"
    }
    if !nearby.companions.isEmpty {
      problem +=
        "; \(list(nearby.companions, limit: 3)) \(nearby.companions.count == 1 ? "is a training file" : "are training files"): "
        + "name one to see it"
    }
    if !nearby.models.isEmpty { problem += "; name one of its directories: \(list(nearby.models))" }
    if nearby.skipped > 0 {
      problem += "; \(PrintableText.counted(nearby.skipped, "more name")) not examined"
    }
    return ModelError(.noSource, path, problem)
  }
}
