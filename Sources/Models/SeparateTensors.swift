package import Safetensors

/// A model with a file for each tensor: a mount, or a copy of a mount. The files are not held open.
package struct SeparateTensors: Sendable {
  /// The tensors in the order of their unique names. Each is the whole of its file.
  package let tensors: [(tensor: Tensor, file: SourceFile)]
  /// The entries of `__metadata__`.
  package let metadata: [(key: [UInt8], value: [UInt8])]
  /// The file that describes them.
  package let document: SourceFile

  /// Opens the file of each tensor by `open`, and closes it again; files that are used later are opened by it, too.
  package init(
    opening tensors: [Tensor], metadata: [(key: [UInt8], value: [UInt8])], describedBy document: SourceFile,
    by open: @escaping @Sendable (Int) throws(ModelError) -> SourceFile
  ) throws(ModelError) {
    let reopening = Reopening(by: open)
    self.tensors = try tensors.enumerated().map { number, tensor throws(ModelError) in
      (tensor, SourceFile(try open(number), reopening, number))
    }
    self.metadata = metadata
    self.document = document
  }

  /// The same as a model. Nil if the names are too long for a header's table.
  fileprivate var model: Model? {
    guard let header = Header(computed: tensors.map(\.tensor), metadata: metadata) else { return nil }
    return Model(
      shards: [Shard(tensors.map(\.file), described: header, by: document)],
      places: tensors.indices.map { Model.Place(shard: 0, index: Int32($0)) }, warnings: [], omitted: [])
  }
}

extension ModelCollection {
  /// Models of separate tensors, each under the name of its directory. A single model may have no name.
  package init(_ models: [(name: [UInt8]?, tensors: SeparateTensors)], notes: [String]) throws(ModelError) {
    var components: [Component] = []
    for (name, tensors) in models {
      guard let model = tensors.model else {
        throw ModelError(
          .malformed, tensors.document.path, "its names are longer than those of a model can be")
      }
      components.append(Component(name: name, model: model))
    }
    self.init(components: components, notes: notes)
  }
}
