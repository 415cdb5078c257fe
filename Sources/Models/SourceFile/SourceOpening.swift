internal import Glibc
internal import Linux
internal import SystemPackage

extension FileDescriptor {
  /// Opens a regular file for reading. Refuses other types without opening them: a FIFO could block or
  /// release its writer, and a device could act. A file that is replaced meanwhile does not escape the check.
  ///
  /// open(2) with O_PATH looks the path up once and opens nothing; fstat(2) tells the type, and the entry in
  /// /proc/self/fd opens the same inode: proc(5).
  static func openRegularFile(_ path: FilePath) throws(ModelError) -> FileDescriptor {
    try ModelError.translating("open", path) {
      let place = try FileDescriptor.open(path, AccessMode(rawValue: __O_PATH), options: .closeOnExec)
      return try place.closeAfter {
        let status = try Stat(place)
        guard status.type == .regular else { throw ModelError(.noSource, path, status.type.refusal) }
        do {
          return try FileDescriptor.open(place.entry, .readOnly, options: .closeOnExec)
        } catch Errno.noSuchFileOrDirectory {
          // /proc is not mounted, so look up the path again.
          return try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
        }
      }
    }
  }

  /// The current path of the open file: readlink(2) of its entry in /proc/self/fd. Nil if /proc is not
  /// mounted.
  var currentPath: FilePath? { try? entry.linkTarget() }
}

extension FileType {
  /// Why a file of this type cannot be a source, as a clause.
  var refusal: String {
    switch self {
    case .directory: "it is a directory, not a file"
    case .fifo: "it is a FIFO, not a regular file"
    case .socket: "it is a socket, not a regular file"
    case .characterSpecial, .blockSpecial: "it is a device, not a regular file"
    default: "it is not a regular file"
    }
  }
}
