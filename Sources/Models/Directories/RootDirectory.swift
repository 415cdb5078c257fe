internal import Glibc
internal import Linux
internal import Safetensors
package import SystemPackage

/// A directory that opens only files inside it.
///
/// The paths come from strangers. Neither `..` nor a symbolic link in any component can lead out of it.
package final class RootDirectory: Sendable {
  package let path: FilePath
  private let descriptor: FileDescriptor

  /// Opens the directory. Follows symbolic links in `path` itself.
  package init(opening path: FilePath) throws(ModelError) {
    self.path = path
    descriptor = try ModelError.translating("open", path) {
      try FileDescriptor.open(path, .readOnly, options: [.directory, .closeOnExec])
    }
  }

  deinit { try? descriptor.close() }

  /// False for a relative path that could leave its directory, or that no file can have.
  package static func contains(_ relative: ArraySlice<UInt8>) -> Bool {
    !relative.contains(0)
      && relative.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy {
        !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8)
      }
  }

  /// Opens a file component by component: openat(2) with O_NOFOLLOW. Does not map it, since a model can have more files than
  /// a process may have mappings.
  package func open(_ relative: [UInt8]) throws(ModelError) -> SourceFile {
    let full = path.pushing(FilePath(bytes: relative))
    let components = relative.split(separator: UInt8(ascii: "/")).map { FilePath(bytes: $0) }
    guard Self.contains(relative[...]), let name = components.last else {
      throw ModelError(.malformed, full, "it is not the path of a file below \(path.printable)")
    }
    var directory = descriptor
    defer { if directory != descriptor { try? directory.close() } }
    for component in components.dropLast() {
      let next = try open(component, in: directory, O_DIRECTORY, full)
      if directory != descriptor { try? directory.close() }
      directory = next
    }
    return try SourceFile(adopting: try openFile(name, in: directory, full), openedBy: full, isMapped: false)
  }

  private func openFile(_ name: FilePath, in directory: FileDescriptor, _ full: FilePath)
    throws(ModelError) -> FileDescriptor
  {
    // Opens only regular files; the next call refuses links.
    let status = try ModelError.translating("open", full) {
      try unsafe name.withPlatformString { name throws(Errno) in
        try unsafe Stat(name, relativeTo: directory, flags: .symlinkNoFollow)
      }
    }
    guard status.type == .regular || status.type == .symbolicLink else {
      throw ModelError(.malformed, full, status.type.refusal)
    }
    return try open(name, in: directory, O_NONBLOCK, full)
  }

  private func open(_ name: FilePath, in directory: FileDescriptor, _ flags: CInt, _ full: FilePath)
    throws(ModelError) -> FileDescriptor
  {
    let result = unsafe name.withPlatformString {
      unsafe openat(directory.rawValue, $0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags)
    }
    if result >= 0 { return FileDescriptor(rawValue: result) }
    let error = Errno(rawValue: errno)
    // A link gives ELOOP, or ENOTDIR where the call asks for a directory.
    if error == .tooManySymbolicLinkLevels {
      throw ModelError(.malformed, full, "it is a symbolic link; links in this directory are not followed")
    }
    if error == .notDirectory {
      throw ModelError(.malformed, full, "\(name.printable) is a symbolic link, or not a directory")
    }
    throw ModelError(errno: error, full, "open")
  }
}
