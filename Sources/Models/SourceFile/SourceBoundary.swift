internal import Linux
internal import Safetensors
internal import SystemPackage

/// Confines files named by an untrusted list, such as an index, to its directory: a symbolic link beside the list could lead
/// anywhere.
struct SourceBoundary {
  private let directory: FilePath
  /// It without symbolic links; and of a snapshot in the Hub's cache the `blobs` of its repository, to which its files are
  /// links.
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

  /// Throws where symbolic links lead a file, or a directory on the way to it, out of the directory: realpath(3). Links to
  /// blobs of the Hub's cache are followed, since `hf download --local-dir` has made such links. What is not there is for
  /// open(2) to tell.
  func check(_ file: FilePath) throws(ModelError) {
    guard let target = try? file.withoutLinks(), !target.isBlob,
      !roots.contains(where: { target.starts(with: $0) })
    else { return }
    throw ModelError(
      .malformed, file,
      "a symbolic link leads to \(target.printable), out of the directory \(directory.printable): refused; copy the file "
        + "there, or name the files and not the list of them")
  }
}

extension FilePath {
  /// True of `models--ORG--NAME/blobs/HASH`.
  fileprivate var isBlob: Bool {
    let parent = removingLastComponent()
    return parent.fileName.isNamed("blobs")
      && parent.removingLastComponent().fileName.starts(with: "models--".utf8)
  }
}
