internal import Linux
internal import Safetensors
internal import SystemPackage

/// A repository in the Hub's cache, `models--ORG--NAME`: `refs/REVISION` has a commit hash, and `snapshots/COMMIT` the
/// commit's files.
struct HubCache {
  private let path: FilePath
  /// The snapshots' names, in the order of their bytes.
  private let snapshots: [[UInt8]]

  /// Nil for a directory that is not such a repository.
  init?(at path: FilePath) throws(ModelError) {
    let names = try path.entries()
    let isRepository =
      names.contains { $0.isNamed("refs") || $0.isNamed("blobs") }
      || path.fileName.starts(with: "models--".utf8)
    guard names.contains(where: { $0.isNamed("snapshots") }), isRepository else { return nil }
    self.path = path
    snapshots = try path.appending("snapshots").entries().filter { $0.first != UInt8(ascii: ".") }
  }

  /// The directory of a revision's files: the snapshot that `refs/REVISION` names, or the snapshot whose name begins with
  /// REVISION. Without a revision, the snapshot that `refs/main` names, or the only snapshot.
  func snapshot(revision: String?) throws(ModelError) -> FilePath {
    if let commit = try commit(of: revision ?? "main") {
      if snapshots.contains(commit) { return directory(commit) }
      throw error(
        "refs/\(revision ?? "main") names the snapshot \(PrintableText.quoted(commit)), which is not here; download it again"
      )
    }
    if let revision {
      let found = snapshots.filter { revision.utf8.count >= 4 && $0.starts(with: revision.utf8) }
      if found.count == 1 { return directory(found[0]) }
      throw error("no revision \(PrintableText.quoted(revision)) in it")
    }
    if snapshots.count == 1 { return directory(snapshots[0]) }
    throw error("no refs/main in it" + (snapshots.isEmpty ? "" : "; name a snapshot with --revision"))
  }

  private func directory(_ commit: [UInt8]) -> FilePath {
    path.appending("snapshots").pushing(FilePath(bytes: commit))
  }

  private func error(_ problem: String) -> ModelError {
    let snapshots =
      snapshots.isEmpty ? "no snapshots in it: download it again" : "its snapshots are \(list(snapshots))"
    return ModelError(.noSource, path, "\(problem); \(snapshots)")
  }

  /// The commit hash in `refs/REVISION`, or nil. The Hub's own references, such as `refs/pr/1`, are in `refs/refs`.
  private func commit(of revision: String) throws(ModelError) -> [UInt8]? {
    guard RootDirectory.contains(Array(revision.utf8)[...]) else { return nil }
    for file in ["refs", "refs/refs"].map({ path.appending("\($0)/\(revision)") }) {
      guard (try? Stat(file).type) == .regular else { continue }
      let bytes = try SmallFile.bytes(of: file, what: "a reference")
      let commit = bytes.split(whereSeparator: { $0 <= 0x20 }).first.map(Array.init) ?? []
      guard RootDirectory.contains(commit[...]), !commit.contains(UInt8(ascii: "/")) else {
        throw ModelError(.malformed, file, "it does not hold a commit hash; download it again")
      }
      return commit
    }
    return nil
  }
}

extension SourceFile {
  /// Opens a file. If it is a text file that was a link of the Hub's cache before a copy, opens the blob that it names.
  ///
  /// A snapshot's files are symbolic links such as `../../blobs/HASH`. git and archives write a link as text if a file
  /// system has no links. Only a blob of the same cache is followed.
  static func opening(_ path: FilePath) throws(ModelError) -> SourceFile {
    guard let blob = blob(ofTextLink: path) else { return try SourceFile(opening: path) }
    do throws(ModelError) {
      return try SourceFile(adopting: FileDescriptor.openRegularFile(blob), openedBy: path)
    } catch {
      throw ModelError(error.kind, path, "it is a link to \(blob.printable) as text: \(error.problem)")
    }
  }

  /// The maximum size of the text of a link, in bytes.
  private static let longestTextLink = 256

  /// The blob that the text of the file names; nil for any other file, even a broken one.
  private static func blob(ofTextLink path: FilePath) -> FilePath? {
    // Checks the size again after opening: another program may have replaced the file.
    guard path.components.contains("snapshots"), let status = try? Stat(path), status.type == .regular,
      status.size <= longestTextLink, let file = try? SourceFile(opening: path), file.size <= longestTextLink,
      let text = try? file.read(from: 0, count: Int(file.size))
    else { return nil }
    var components = text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)[...]
    while components.first?.elementsEqual("..".utf8) == true { components.removeFirst() }
    guard components.count == 2, components[components.startIndex].elementsEqual("blobs".utf8),
      let hash = components.last, hash.count >= 40,
      hash.allSatisfy({ 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 })
    else { return nil }
    return path.removingLastComponent().pushing(FilePath(bytes: text))
  }
}
