internal import Linux
internal import Safetensors
internal import SystemPackage

/// Confines files that an untrusted list names, such as an index, to the list's directory. A symbolic link
/// there could lead anywhere.
struct SourceBoundary {
  private let directory: FilePath
  /// The directory's real path. For a snapshot in the Hub's cache, also `blobs` of its repository, to which
  /// the snapshot's files are links.
  private let roots: [FilePath]

  init(_ directory: FilePath) throws(ModelError) {
    let directory = directory.isEmpty ? "." : directory
    self.directory = directory
    let root = try ModelError.translating("open", directory) { try directory.withoutLinks() }
    let repository = root.components.lastIndex(of: "snapshots").map { index in
      FilePath(root: root.root, root.components[..<index])
    }
    roots = [root] + [repository].compactMap { try? $0?.appending("blobs").withoutLinks() }
  }

  /// Throws if symbolic links lead a file out of the directory: realpath(3). Follows links to blobs of the
  /// Hub's cache, which `hf download --local-dir` makes. Leaves missing files to open(2).
  func check(_ file: FilePath) throws(ModelError) {
    guard let target = try? file.withoutLinks(), !target.isBlob,
      !roots.contains(where: { target.starts(with: $0) })
    else { return }
    throw ModelError(
      .malformed, file,
      "refused: a symbolic link leads to \(target.printable), out of the directory \(directory.printable); copy the file "
        + "there, or name the files instead of their list")
  }
}

extension FilePath {
  /// True for `models--ORG--NAME/blobs/HASH`.
  fileprivate var isBlob: Bool {
    let parent = removingLastComponent()
    return parent.fileName.isNamed("blobs")
      && parent.removingLastComponent().fileName.starts(with: "models--".utf8)
  }
}
