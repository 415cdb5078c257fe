import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A model to be listed: one of the files that stmount(1) mounts, or a mount or a copy of one.
struct ListedModel {
  /// The name of its directory, if it is one of several.
  let name: [UInt8]?
  /// Its tensors, in the requested order.
  let tensors: [Tensor]
  /// How many files they are in.
  let fileCount: Int
  /// Counts the parameters. This goes through all names, and reads the configuration beside the model.
  let parameters: () -> ParameterCount
  /// The metadata.json of the mount; nil for a mount if some of its tensors are not chosen.
  let document: (() throws(ModelError) -> [UInt8])?

  /// The models of some sources, and warnings about them, safe to print.
  static func models(
    in sources: [FilePath], _ options: OpeningOptions, order: Order, _ selection: NameSelection
  ) throws(ModelError) -> (models: [ListedModel], warnings: [String]) {
    if sources.count == 1 {
      var models: [ListedModel] = []
      for (name, directory) in try TensorDirectory.all(at: sources[0]) {
        let dequantized = TensorDirectory.dequantized(name, at: sources[0])
        models.append(try ListedModel(name, directory, dequantized, order, selection))
      }
      if !models.isEmpty { return (models, []) }
    }
    let collection = try ModelCollection(
      opening: sources, options, choosing: selection.contains)
    return (models(of: collection, order, isDequantized: false), collection.warnings)
  }

  /// The models of a collection, which is open already. If it is dequantised, every element is a parameter.
  static func models(of collection: ModelCollection, _ order: Order, isDequantized: Bool) -> [ListedModel] {
    collection.components.map { component in
      let model = component.model
      let tensors = order.places(of: model).map(model.tensor)
      return ListedModel(
        name: component.name, tensors: tensors,
        fileCount: model.storedShards.reduce(0) { $0 + $1.files.count },
        parameters: { isDequantized ? ParameterCount(tensors) : ParameterCount(tensors, of: model) },
        document: { () throws(ModelError) in MetadataDocument.bytes(of: model) })
    }
  }

  private init(
    name: [UInt8]?, tensors: [Tensor], fileCount: Int, parameters: @escaping () -> ParameterCount,
    document: (() throws(ModelError) -> [UInt8])?
  ) {
    self.name = name
    self.tensors = tensors
    self.fileCount = fileCount
    self.parameters = parameters
    self.document = document
  }

  /// A mount or a copy of one, each of whose files must have its size; and its `.dequant/`, if the mount has one.
  private init(
    _ name: [UInt8]?, _ directory: TensorDirectory, _ dequantized: TensorDirectory?, _ order: Order,
    _ selection: NameSelection
  ) throws(ModelError) {
    let entries = directory.entries.filter { selection.contains($0.tensor.name) }
    for entry in entries { _ = try directory.open(entry) }
    let tensors = entries.map(\.tensor)
    self.init(
      name: name, tensors: order.tensors(of: tensors), fileCount: tensors.count,
      parameters: {
        guard let dequantized else { return ParameterCount(tensors) }
        // A part of a quantised weight stands for nothing.
        return entries.count < directory.entries.count
          ? ParameterCount(elementsOf: tensors)
          : ParameterCount(tensors, standingFor: dequantized.entries.map(\.tensor))
      },
      document: entries.count < directory.entries.count
        ? nil : { () throws(ModelError) in try directory.document() })
  }
}
