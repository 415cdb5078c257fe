import Glibc
import SystemPackage

/// The system calls that would change a file system.
enum Modification: String, CaseIterable, Sendable {
  case openToWrite, openToReadAndWrite, openToAppend, openToCreate, openToTruncate
  case create, mkdir, rmdir, unlink, rename, renameDirectory, link, symlink, mknod, mkfifo
  case chmod, chmodDirectory, chown, utimensat, truncate, truncateToLonger, setxattr, removexattr

  /// Tries the call on a mount with a file `w`, and a directory `a` with a file `b`. Returns the error, or nil after
  /// success.
  func attempt(in mount: FilePath) -> Errno? {
    let result = call("\(mount)/w", "\(mount)/a", "\(mount)/new")
    return result < 0 ? Errno(rawValue: errno) : nil
  }

  private func call(_ file: String, _ directory: String, _ new: String) -> CInt {
    switch self {
    case .openToWrite: opened(unsafe Glibc.open(file, O_WRONLY))
    case .openToReadAndWrite: opened(unsafe Glibc.open(file, O_RDWR))
    case .openToAppend: opened(unsafe Glibc.open(file, O_WRONLY | O_APPEND))
    case .openToCreate: opened(unsafe Glibc.open(new, O_RDONLY | O_CREAT, 0o644))
    case .openToTruncate: opened(unsafe Glibc.open(file, O_RDONLY | O_TRUNC))
    case .create: opened(unsafe Glibc.creat(new, 0o644))
    case .mkdir: unsafe Glibc.mkdir(new, 0o755)
    case .rmdir: unsafe Glibc.rmdir(directory)
    case .unlink: unsafe Glibc.unlink(file)
    case .rename: unsafe Glibc.rename(file, new)
    case .renameDirectory: unsafe Glibc.rename(directory, new)
    case .link: unsafe Glibc.link(file, new)
    case .symlink: unsafe Glibc.symlink("w", new)
    case .mknod: unsafe Glibc.mknod(new, S_IFREG | 0o644, 0)
    case .mkfifo: unsafe Glibc.mkfifo(new, 0o644)
    case .chmod: unsafe Glibc.chmod(file, 0o777)
    case .chmodDirectory: unsafe Glibc.chmod(directory, 0o777)
    case .chown: unsafe Glibc.chown(file, 1, 1)
    case .utimensat: unsafe Glibc.utimensat(AT_FDCWD, file, nil, 0)
    case .truncate: unsafe Glibc.truncate(file, 0)
    case .truncateToLonger: unsafe Glibc.truncate(file, 1 << 20)
    case .setxattr: unsafe ExtendedAttributes.set?(file, "user.test", "x", 1, 0) ?? -1
    case .removexattr: unsafe ExtendedAttributes.remove?(file, "user.test") ?? -1
    }
  }

  private func opened(_ descriptor: CInt) -> CInt {
    if descriptor >= 0 { close(descriptor) }
    return descriptor
  }
}

/// setxattr(2) and removexattr(2), which Glibc's module lacks. Nil if the C library does not have them.
private enum ExtendedAttributes {
  typealias Set =
    @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeRawPointer, Int, CInt) -> CInt
  typealias Remove = @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>) -> CInt

  static var set: Set? { unsafe dlsym(nil, "setxattr").map { unsafe unsafeBitCast($0, to: Set.self) } }
  static var remove: Remove? {
    unsafe dlsym(nil, "removexattr").map { unsafe unsafeBitCast($0, to: Remove.self) }
  }
}
