import Models
import Safetensors
import SystemPackage
import TensorFiles

extension ModelCollection {
  /// Opens the sources, including mounts and copies of mounts, and prints warnings. Ignores tensors that `isChosen` rejects. If a
  /// source is no model and one of `others` is, the arguments were swapped.
  static func open(
    _ sources: [String], _ options: OpeningOptions, command: String, before others: [String] = [],
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
      if error.kind == .noSource { try refuseSwapped(paths[0], others, options, command) }
      throw Failure(error)
    }
    for warning in collection.warnings { printError("warning: \(warning)", command: command) }
    return collection
  }

  /// Throws if one of the arguments after a source, which is no model, is one.
  private static func refuseSwapped(
    _ source: FilePath, _ others: [String], _ options: OpeningOptions, _ command: String
  ) throws(Failure) {
    for path in others.map({ FilePath(argument: $0) }) where (try? Stat(path)) != nil {
      guard
        (try? TensorDirectory.all(at: path))?.isEmpty == false
          || (try? ModelCollection(opening: [path], options)) != nil
      else { continue }
      let problem = (try? Stat(source)) == nil ? "does not exist" : "has no model"
      throw .usage(
        "\(source.printable) \(problem), and \(path.printable) is a model: the source comes first",
        command: command)
    }
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
