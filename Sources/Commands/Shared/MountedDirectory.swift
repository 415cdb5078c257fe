import Models
import SystemPackage
import TensorFiles

extension TensorDirectory {
  /// The mount at a path, or the copy of one; nil where the path is neither. A metadata.json that is somebody else's does not
  /// hide a model of the usual kind beside it.
  static func found(at path: FilePath) throws(ModelError) -> TensorDirectory? {
    guard (try? Stat(path.appending(documentName)).type) == .regular else { return nil }
    do throws(ModelError) {
      return try TensorDirectory(opening: path)
    } catch {
      let notOurs = error
      do throws(ModelError) {
        _ = try ModelCollection(opening: [path], OpeningOptions(lenient: true))
      } catch {
        // A model that is there and broken has more to say than a document that is not looked for.
        if error.kind == .noSource { throw notOurs }
      }
      return nil
    }
  }
}
