internal import Linux
package import Safetensors
package import SystemPackage

/// The sources of one command: a model, or several models side by side.
package struct ModelCollection: Sendable {
  /// One model under its directory name.
  package struct Component: Sendable {
    /// The name of the model's directory, as bytes; nil if the model is the whole collection.
    package let name: [UInt8]?
    /// The model.
    package let model: Model
  }

  /// The models in the order of their names; at least one. Only a single model has no name.
  package let components: [Component]

  /// Warnings about valid models; safe to print.
  package var warnings: [String] { notes + components.flatMap(\.model.warnings) }

  private let notes: [String]

  /// A collection of open models.
  init(_ components: [Component]) {
    self.components = components
    notes = []
  }

  /// Opens sources: one file, index or directory, or several files. Tensors whose names are not chosen are ignored: for them,
  /// neither a duplicate name nor a tensor that cannot be shown is an error.
  package init(
    opening sources: [FilePath], _ options: OpeningOptions = OpeningOptions(),
    choosing isChosen: (TensorName) -> Bool = { _ in true }
  ) throws(ModelError) {
    var notes: [String] = []
    if sources.count == 1, let source = sources.first {
      components = try Self.open(Self.layout(of: source, options, notes: &notes), options, isChosen)
    } else {
      if let source = sources.first { try Self.rejectRevision(options, source) }
      if let index = sources.first(where: { ModelIndex.isIndex($0.fileName) }) {
        throw ModelError(
          .malformed, index,
          "an index is a whole model: name it alone, or name its shards beside the other files")
      }
      components = try Self.open(.files(sources), options, isChosen)
    }
    self.notes = notes
  }

  /// The same models with only the chosen tensors; a model without any of them is left out.
  package func keeping(_ isChosen: (TensorName) -> Bool) -> ModelCollection {
    let chosen = components.map { Component(name: $0.name, model: $0.model.keeping(isChosen)) }
    return ModelCollection(components: chosen.filter { !$0.model.places.isEmpty }, notes: notes)
  }

  init(components: [Component], notes: [String]) {
    self.components = components
    self.notes = notes
  }

  /// Decides the contents of a single source.
  private static func layout(of source: FilePath, _ options: OpeningOptions, notes: inout [String])
    throws(ModelError) -> ModelDirectory.Layout
  {
    let status: Stat
    do throws(ModelError) {
      status = try ModelError.translating("open", source) { try Stat(source) }
    } catch {
      guard error.kind == .noSource, let advice = MissingSource.advice(for: source) else { throw error }
      throw ModelError(.noSource, source, "\(error.problem); \(advice)")
    }
    guard status.type == .directory else {
      if ModelIndex.isIndex(source.fileName) { return .index(source, beside: [], []) }
      if source.fileName.hasSuffix(ignoringCase: ".distcp") {
        throw ModelError(
          .malformed, source,
          "this is a part of a distributed checkpoint (DCP) of PyTorch: name its directory")
      }
      try rejectRevision(options, source)
      return .file(source)
    }
    guard let cache = try HubCache(at: source) else {
      try rejectRevision(options, source)
      return try ModelDirectory(scanning: source, variant: options.variant).layout(notes: &notes)
    }
    let snapshot = try cache.snapshot(revision: options.revision)
    return try ModelDirectory(scanning: snapshot, variant: options.variant).layout(notes: &notes)
  }

  /// Throws if the user named a revision of a source that has none.
  private static func rejectRevision(_ options: OpeningOptions, _ source: FilePath) throws(ModelError) {
    guard options.revision != nil else { return }
    throw ModelError(.noSource, source, "--revision is for a directory of the Hub's cache, models--ORG--NAME")
  }

  private static func open(
    _ layout: ModelDirectory.Layout, _ options: OpeningOptions, _ isChosen: (TensorName) -> Bool
  ) throws(ModelError) -> [Component] {
    switch layout {
    case .file(let path): return [Component(name: nil, model: try Model(file: path, options, isChosen))]
    case .files(let paths): return [Component(name: nil, model: try Model(files: paths, options, isChosen))]
    case .index(let path, let files, let directories):
      return [
        Component(
          name: nil, model: try Model(index: path, beside: files, directories: directories, options, isChosen)
        )
      ]
    case .distributed(let path):
      return [Component(name: nil, model: try Model(distributed: path, options, isChosen))]
    case .components(let parts):
      var components: [Component] = []
      for (name, layout) in parts {
        // A component is files or an index, never components again, so there is one model in it.
        for inner in try open(layout, options, isChosen) {
          components.append(Component(name: name, model: inner.model))
        }
      }
      return components
    }
  }
}
