internal import CLinux
internal import Glibc
internal import SystemPackage

/// The mount of a file or directory: statx(2), without a request to its file system.
struct MountIdentity: Sendable, Equatable {
  /// The mount's number; nil if the kernel does not tell (before Linux 5.8).
  private let id: UInt64?
  /// No other mount ever has this number (Linux 6.8).
  let isUnique: Bool
  /// The file system's device number as `MAJOR:MINOR`.
  let device: String

  /// The mount of an open file, which may be opened with O_PATH.
  init?(_ file: FileDescriptor) {
    var id: UInt64 = 0
    var (major, minor): (UInt32, UInt32) = (0, 0)
    let kind = unsafe stmount_mount_id(file.rawValue, &id, &major, &minor)
    guard kind >= 0 else { return nil }
    self.id = kind > 0 ? id : nil
    isUnique = kind == 2
    device = "\(major):\(minor)"
  }
}

extension FileDescriptor {
  /// Opens a directory only as a location: open(2) with O_PATH, which sends no request to a FUSE file system.
  static func openPath(_ directory: FilePath) throws(Errno) -> FileDescriptor {
    do {
      return try open(directory, AccessMode(rawValue: __O_PATH), options: [.directory, .closeOnExec])
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}
