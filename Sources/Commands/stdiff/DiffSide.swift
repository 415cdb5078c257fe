import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// One of the two sources that are compared: its tensors in the order of their names.
struct DiffSide: Sendable {
  /// A tensor, and its contents.
  struct Entry: Sendable {
    /// The name, prefixed with the model's directory if there are several.
    let name: TensorName
    let tensor: Tensor
    let contents: FileLayout
  }

  /// The entries; names are unique.
  let entries: [Entry]
  /// All files that the tensors are in.
  let files: [SourceFile]

  /// The tensors of a source, renamed by `renamings`.
  init(_ collection: ModelCollection, renamedBy renamings: [Renaming]) throws(Failure) {
    var entries: [Entry] = []
    for component in collection.components {
      let model = component.model
      let prefix = component.name.map { $0 + [UInt8(ascii: "/")] } ?? []
      for place in model.places {
        let tensor = model.tensor(at: place)
        guard let contents = FileLayout(of: tensor, in: model.shard(at: place)) else {
          throw Failure.tooLarge(tensor.name)
        }
        let renamed = renamings.isEmpty ? tensor.name : try Renaming.rename(tensor.name, by: renamings)
        let name = prefix.isEmpty ? renamed : TensorName(utf8: (prefix + renamed.utf8)[...])
        entries.append(Entry(name: name, tensor: tensor, contents: contents))
      }
    }
    if !renamings.isEmpty || collection.components.count > 1 { entries.sort { $0.name < $1.name } }
    for (left, right) in zip(entries, entries.dropFirst()) where left.name == right.name {
      throw Failure(
        status: EX_DATAERR,
        "tensors \(left.tensor.name) and \(right.tensor.name) would both be named \(left.name)")
    }
    self.entries = entries
    files = collection.components.flatMap { $0.model.shards.flatMap(\.files) }
  }
}

extension DiffSide.Entry {
  /// True if both are the same bytes of the same file, so no comparison is needed.
  func isSameRange(as other: DiffSide.Entry) -> Bool {
    guard contents.segments.count == other.contents.segments.count else { return false }
    for (left, right) in zip(contents.segments, other.contents.segments) {
      guard case .file(let left) = left, case .file(let right) = right, left.range == right.range,
        left.file.isOpenedAs(right.file.status)
      else { return false }
    }
    return true
  }
}
