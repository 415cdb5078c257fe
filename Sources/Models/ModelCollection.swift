internal import Safetensors
package import SystemPackage

/// What the sources of one command amount to: a model, or several models side by side.
package struct ModelCollection: Sendable {
  /// One model under its directory name.
  package struct Component: Sendable {
    /// The name of the model's directory, as bytes; nil where the model is the whole collection.
    package let name: [UInt8]?
    /// The model.
    package let model: Model
  }

  /// The models in the order of their names; at least one. Only a lone one has no name.
  package let components: [Component]

  /// What a person should know though the models are sound; safe to print.
  package var warnings: [String] { notes + components.flatMap(\.model.warnings) }

  private let notes: [String]

  /// Opens sources: one `.safetensors` file, index or directory, or several `.safetensors` files.
  ///
  /// `lenient` accepts bytes after the last tensor of a file.
  package init(opening sources: [FilePath], lenient: Bool = false) throws(ModelError) {
    var notes: [String] = []
    if sources.count == 1, let source = sources.first {
      let isDirectory = try ModelError.translating("open", source) { try Stat(source).type == .directory }
      if isDirectory {
        let layout = try ModelDirectory(scanning: source).layout(notes: &notes)
        components = try Self.open(layout, lenient: lenient)
      } else {
        let isIndex = ModelIndex.isIndex(source.fileName)
        components = try Self.open(isIndex ? .index(source) : .files([source]), lenient: lenient)
      }
    } else {
      components = try Self.open(.files(sources), lenient: lenient)
    }
    self.notes = notes
  }

  private static func open(_ layout: ModelDirectory.Layout, lenient: Bool) throws(ModelError)
    -> [Component]
  {
    switch layout {
    case .files(let paths): return [Component(name: nil, model: try Model(files: paths, lenient: lenient))]
    case .index(let path): return [Component(name: nil, model: try Model(index: path, lenient: lenient))]
    case .components(let parts):
      var components: [Component] = []
      for (name, layout) in parts {
        // A component is files or an index, never components again, so there is one model in it.
        for inner in try open(layout, lenient: lenient) {
          components.append(Component(name: name, model: inner.model))
        }
      }
      return components
    }
  }
}
