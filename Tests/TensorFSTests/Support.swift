import FUSE
import Logging

@testable import Models
@testable import TensorFiles
@testable import TensorFS

extension TensorFileSystem {
  /// The only file system of a mount. It watches its sources.
  convenience init(_ collection: ModelCollection, options: MountOptions, log: Logger) throws(NamesError) {
    try self.init(collection, options: options, faults: SourceFaults(log: log), tag: 0)
    SourceWatch.begin(models.flatMap(\.shards), log: log)
  }

  /// The attributes at a path, looked up component by component; nil if the path does not exist.
  func lookup(path: String) throws -> Attributes? {
    var found: Attributes? = try attributes(of: .root)
    for component in path.split(separator: "/") {
      guard let directory = found else { return nil }
      found = try lookup(Array(component.utf8).span, in: directory.inode)
    }
    return found
  }
}
