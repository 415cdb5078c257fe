import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The files to write, and their directories.
struct UnpackPlan: Sendable {
  /// A file.
  struct File: Sendable {
    /// The path below the directory.
    let path: [UInt8]
    let layout: FileLayout
    /// The tensor in it; nil for a metadata.json.
    let tensor: TensorName?
  }

  /// The target directory.
  let directory: FilePath
  /// The files in the order of writing: each metadata.json after all tensors, so that a directory with one is
  /// complete.
  let files: [File]
  /// The directories below ``directory``, each after the one that it is in.
  let directories: [ArraySlice<UInt8>]
  /// True if files that exist are replaced.
  let replaces: Bool

  /// The size of all files.
  var byteCount: UInt64 { files.lazy.map(\.layout.byteCount).clampedSum }

  /// A plan for the files of a view.
  init(_ tree: FileTree, form: ViewForm, to directory: FilePath, replaces: Bool) throws(Failure) {
    self.directory = directory
    self.replaces = replaces
    var tensors: [File] = []
    var documents: [File] = []
    var directories: [ArraySlice<UInt8>] = []
    var seen: Set<ArraySlice<UInt8>> = []
    for (path, place) in tree.files(in: form.view) {
      // PATH_MAX counts the NUL.
      guard directory.length + 1 + path.count < PATH_MAX else {
        throw Failure(
          status: EX_CANTCREAT,
          "\(PrintableText.quoted(path)): with the directory, this path is longer than the system allows, "
            + "\(PATH_MAX - 1) bytes; leave the tensor out with --exclude")
      }
      // A view has the directories of files that it lacks, too. Slices, since there can be a thousand times as many bytes of them.
      for slash in path.indices where path[slash] == UInt8(ascii: "/") && seen.insert(path[..<slash]).inserted
      {
        directories.append(path[..<slash])
      }
      guard let layout = tree.layout(of: place) else { continue }
      let node = tree.tree.node(place)
      if node.kind == .tensor {
        tensors.append(File(path: path, layout: layout, tensor: tree.source(of: node).tensor.name))
      } else {
        documents.append(File(path: path, layout: layout, tensor: nil))
      }
    }
    files = tensors + documents
    guard !files.isEmpty else {
      throw Failure(status: EX_NOINPUT, "no tensor has the form \(form.rawValue)")
    }
    self.directories = directories
  }

  /// The path of a file or a directory.
  func path(_ path: some Collection<UInt8>) -> FilePath { directory.pushing(FilePath(bytes: path)) }

  /// Refuses, before anything is written, existing files and a file system without enough space.
  func check() throws(Failure) {
    for path in [directory] + directories.map(path) {
      guard let type = try? Stat(path, followTargetSymlink: path == directory).type else { continue }
      guard type == .directory else {
        throw Failure(
          status: EX_CANTCREAT,
          "\(path.printable): it exists and is not a directory; remove it, or choose another")
      }
    }
    // A directory that does not exist yet has no existing files.
    for file in files {
      let path = self.path(file.path)
      guard let found = try? Stat(path, followTargetSymlink: false).type else { continue }
      guard found == .regular else {
        throw Failure(
          status: EX_CANTCREAT,
          "\(path.printable): it exists, and is not a regular file; only those are replaced")
      }
      if !replaces { throw OutputFile.exists(path.printable) }
    }
    let exists = (try? Stat(directory).type) == .directory
    try OutputFile.checkSpace(
      at: exists ? directory : directory.parent, for: directory, byteCount: byteCount, newByteCount: 0)
  }
}
