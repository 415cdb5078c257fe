internal import Linux
internal import Safetensors
internal import SystemPackage

/// What a directory without a model holds instead. Names are in the order of their bytes.
struct NearbyWeights {
  /// Directories that seem to hold a model, below the directory.
  var models: [[UInt8]]
  /// Files and directories of other formats.
  var foreign: [[UInt8]]
  /// Files of training that are not a model.
  var companions: [[UInt8]]
  /// The number of names without an extension that were not examined. They could be directories.
  var skipped: Int
}

// Finds weights beside the model, or in place of it, by their names.
extension ModelDirectory {
  /// The maximum number of names that are examined as directories of weights. Each takes up to three requests, which are slow
  /// on a network.
  private static let namesLookedUp = 32

  /// What a subdirectory holds.
  private enum Holdings { case model, foreignWeights, nothing }

  /// Warns about other files that a user could take for the model or a part of it, and with `all`, about directories of weights
  /// too. `model` is the name of the chosen model.
  func note(_ chosen: [[UInt8]], for model: [UInt8]?, all: Bool = true, in notes: inout [String]) {
    let chosen = Set(chosen)
    let left = names.filter { !chosen.contains($0) && isLeftOut($0) }
    if !left.isEmpty { notes.append(leftOut(left, model: model)) }
    let directories = all ? directoriesOfWeights : []
    if !directories.isEmpty { notes.append(leftOut(directories: directories, model: model)) }
  }

  /// The directories in this one that hold weights, of any format.
  var directoriesOfWeights: [[UInt8]] {
    let candidates = names.lazy.filter { !isLeftOut($0) && !hasExtension($0) }.prefix(Self.namesLookedUp)
    return Array(candidates).filter { name in holdings(of: name).map { $0 != .nothing } ?? false }
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

  // MARK: - In place of a model

  /// What the directory has in place of a model. Examines at most ``namesLookedUp`` names. If none is a directory with a model,
  /// examines 8 directories in each of the first 8, because Megatron and DeepSpeed nest models.
  var nearbyWeights: NearbyWeights {
    let directories = directories(atMost: Self.namesLookedUp)
    let models = directories.filter { $0.holds == .model }.map(\.name)
    let foreign = Set(directories.lazy.filter { $0.holds == .foreignWeights }.map(\.name))
    return NearbyWeights(
      models: models.isEmpty ? deeperModels(directories.map(\.name)) : models,
      foreign: names.filter { foreign.contains($0) || ForeignFiles.isWeights($0) && !models.contains($0) },
      companions: names.filter(isCompanion),
      skipped: max(0, names.count { !hasExtension($0) } - Self.namesLookedUp))
  }

  /// The directories among the first ``namesLookedUp`` names, names without an extension first.
  private func directories(atMost limit: Int) -> [(name: [UInt8], holds: Holdings)] {
    let likely = names.filter { !hasExtension($0) } + names.filter(hasExtension)
    var found: [(name: [UInt8], holds: Holdings)] = []
    for name in likely.prefix(Self.namesLookedUp) where found.count < limit {
      if let holds = holdings(of: name) { found.append((name, holds)) }
    }
    return found
  }

  private func deeperModels(_ directories: [[UInt8]]) -> [[UInt8]] {
    let limit = 8
    return directories.prefix(limit).flatMap { name -> [[UInt8]] in
      guard let directory = try? ModelDirectory(scanning: child(name)) else { return [] }
      return directory.directories(atMost: limit).filter { $0.holds == .model }.map {
        name + "/".utf8 + $0.name
      }
    }
  }

  /// What a subdirectory seems to hold, which may be a repository of the Hub's cache; nil if it is not a directory.
  private func holdings(of name: [UInt8]) -> Holdings? {
    guard isDirectory(name) else { return nil }
    if name.starts(with: "models--".utf8) { return .model }
    guard let names = try? child(name).entryNames() else { return .nothing }
    let isModel = names.contains { name in
      name.isNamed(".metadata") || name.isNamed("model_index.json")
        || name.first != UInt8(ascii: ".") && isFamilyFile(name)
    }
    if isModel { return .model }
    return names.contains(where: ForeignFiles.isWeights) ? .foreignWeights : .nothing
  }
}
