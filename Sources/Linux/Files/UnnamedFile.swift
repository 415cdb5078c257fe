internal import CLinux
internal import Glibc
package import SystemPackage

/// Files that have no name until they are complete. If the process ends before that, even by SIGKILL, nothing remains.
extension FileDescriptor {
  /// Makes an empty file without a name, for reading and writing: open(2) with O_TMPFILE. Throws if the file system
  /// cannot do that.
  package static func openUnnamed(in directory: FilePath, permissions: FilePermissions) throws(Errno)
    -> FileDescriptor
  {
    let result = unsafe directory.withPlatformString {
      unsafe stmount_open_unnamed($0, mode_t(permissions.rawValue))
    }
    guard result >= 0 else { throw Errno(rawValue: errno) }
    return FileDescriptor(rawValue: result)
  }

  /// Gives the file a name, which must not exist yet: linkat(2), through proc_pid_fd(5).
  package func link(at path: FilePath) throws(Errno) {
    let result = unsafe path.withPlatformString {
      unsafe linkat(AT_FDCWD, "\(entry)", AT_FDCWD, $0, Int32(AT_SYMLINK_FOLLOW))
    }
    guard result == 0 else { throw Errno(rawValue: errno) }
  }
}
