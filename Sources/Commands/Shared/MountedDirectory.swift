import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

extension TensorDirectory {
  /// The mount or the copy of a mount at a path, or nil. If the metadata.json is another program's, a model beside it counts.
  static func found(at path: FilePath) throws(ModelError) -> TensorDirectory? {
    guard isDescribed(path) else { return nil }
    do throws(ModelError) {
      return try TensorDirectory(opening: path)
    } catch {
      // If a model is here too, even a broken one, open it instead: its error is more useful.
      if error.kind != .noSource, !holdsModel(path) { throw error }
      return nil
    }
  }

  /// The models of a mount or of a copy of one, each with the name of its directory if there are several. Empty if the path is
  /// neither.
  static func all(at path: FilePath) throws(ModelError) -> [(name: [UInt8]?, directory: TensorDirectory)] {
    if let directory = try found(at: path) { return [(nil, directory)] }
    guard (try? Stat(path).type) == .directory else { return [] }
    let names = try path.entries().filter { name in
      let child = path.pushing(FilePath(bytes: name))
      return (try? Stat(child, followTargetSymlink: false).type) == .directory && isDescribed(child)
    }
    if names.isEmpty || holdsModel(path) { return [] }
    var models: [(name: [UInt8]?, directory: TensorDirectory)] = []
    for name in names {
      guard let directory = try found(at: path.pushing(FilePath(bytes: name))) else { continue }
      models.append((name, directory))
    }
    return models
  }

  /// The dequantised form of a model that ``all(at:)`` has found, if it is a mount's.
  static func dequantized(_ name: [UInt8]?, at path: FilePath) -> TensorDirectory? {
    let root = name.map { path.pushing(FilePath(bytes: $0)) } ?? path
    return try? TensorDirectory(opening: root.pushing(FilePath(bytes: ViewedTree.dequantizedDirectory)))
  }

  private static func isDescribed(_ path: FilePath) -> Bool {
    (try? Stat(path.appending(documentName)).type) == .regular
  }

  /// True of a directory with a model of the usual kind, even a broken one.
  private static func holdsModel(_ path: FilePath) -> Bool {
    do throws(ModelError) {
      _ = try ModelCollection(opening: [path], OpeningOptions(lenient: true))
    } catch {
      return error.kind != .noSource
    }
    return true
  }
}

extension ModelCollection {
  /// The chosen tensors of a mount or of a copy of one; nil if the path is neither.
  static func mounted(at path: FilePath, choosing isChosen: (TensorName) -> Bool) throws(ModelError)
    -> ModelCollection?
  {
    var models: [(name: [UInt8]?, tensors: SeparateTensors)] = []
    for (name, directory) in try TensorDirectory.all(at: path) {
      models.append((name, try directory.tensors(choosing: isChosen)))
    }
    return models.isEmpty ? nil : try ModelCollection(models, notes: [])
  }
}
