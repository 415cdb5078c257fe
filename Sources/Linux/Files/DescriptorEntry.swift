package import SystemPackage

extension FileDescriptor {
  /// Its entry in /proc/self/fd, which leads to the same inode whatever happens to its path: proc_pid_fd(5).
  package var entry: FilePath { FilePath("/proc/self/fd/\(rawValue)") }
}
