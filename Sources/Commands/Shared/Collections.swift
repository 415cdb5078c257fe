import Models
import Safetensors
import SystemPackage
import TensorFiles

extension ModelCollection {
  /// Opens the sources, including mounts and copies of mounts, and prints warnings. Ignores tensors that `isChosen` rejects.
  static func open(
    _ sources: [String], _ options: OpeningOptions, command: String,
    choosing isChosen: (TensorName) -> Bool = { _ in true }
  ) throws(Failure) -> ModelCollection {
    let paths = sources.map { FilePath(argument: $0) }
    let collection: ModelCollection
    do throws(ModelError) {
      if paths.count == 1, let mounted = try mounted(at: paths[0], choosing: isChosen) {
        collection = mounted
      } else {
        collection = try ModelCollection(opening: paths, options, choosing: isChosen)
      }
    } catch {
      throw Failure(error)
    }
    for warning in collection.warnings { printError("warning: \(warning)", command: command) }
    return collection
  }

  /// The files that a mount would show.
  func files() throws(Failure) -> FileTree {
    do throws(NamesError) {
      return try FileTree(self)
    } catch {
      throw Failure(error)
    }
  }
}
