import Models
import SystemPackage
import TensorFiles

extension ModelCollection {
  /// Opens what the command line names, and prints the warnings.
  static func open(_ sources: [String], _ options: OpeningOptions, command: String) throws(Failure)
    -> ModelCollection
  {
    let collection: ModelCollection
    do throws(ModelError) {
      collection = try ModelCollection(opening: sources.map { FilePath(argument: $0) }, options)
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
