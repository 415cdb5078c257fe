import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A model to be listed: one of the files that stmount(1) mounts, or a mount or a copy of one.
struct ListedModel {
  /// The name of its directory, if it is one of several.
  let name: [UInt8]?
  /// Its tensors, in the order asked for.
  let tensors: [Tensor]
  /// How many files they are in.
  let fileCount: Int
  /// The metadata.json of the mount; nil for a mount whose tensors are partly left out.
  let document: (() throws(ModelError) -> [UInt8])?

  /// The models of some sources, and warnings about them, safe to print.
  static func models(
    in sources: [FilePath], _ options: OpeningOptions, order: Order, _ selection: NameSelection
  ) throws(ModelError) -> (models: [ListedModel], warnings: [String]) {
    if sources.count == 1 {
      var models: [ListedModel] = []
      for (name, directory) in try TensorDirectory.all(at: sources[0]) {
        models.append(try ListedModel(name, directory, order, selection))
      }
      if !models.isEmpty { return (models, []) }
    }
    let collection = try ModelCollection(
      opening: sources, options, choosing: selection.contains)
    return (models(of: collection, order), collection.warnings)
  }

  /// The models that are open already.
  static func models(of collection: ModelCollection, _ order: Order) -> [ListedModel] {
    collection.components.map { component in
      let model = component.model
      return ListedModel(
        name: component.name, tensors: order.places(of: model).map(model.tensor),
        fileCount: model.storedShards.reduce(0) { $0 + $1.files.count },
        document: { () throws(ModelError) in MetadataDocument.bytes(of: model) })
    }
  }

  private init(
    name: [UInt8]?, tensors: [Tensor], fileCount: Int, document: (() throws(ModelError) -> [UInt8])?
  ) {
    self.name = name
    self.tensors = tensors
    self.fileCount = fileCount
    self.document = document
  }

  /// A mount or a copy of one, each of whose files must have its size.
  private init(
    _ name: [UInt8]?, _ directory: TensorDirectory, _ order: Order, _ selection: NameSelection
  ) throws(ModelError) {
    let entries = directory.entries.filter { selection.contains($0.tensor.name) }
    for entry in entries { _ = try directory.open(entry) }
    let tensors = entries.map(\.tensor)
    self.init(
      name: name, tensors: order.tensors(of: tensors), fileCount: tensors.count,
      document: entries.count < directory.entries.count
        ? nil : { () throws(ModelError) in try directory.document() })
  }
}
