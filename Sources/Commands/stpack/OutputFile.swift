import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A file that appears under its name once it is whole, or never: it is written under another name in the same
/// directory, and removed when the object goes.
final class OutputFile {
  /// Where it is to appear.
  let path: FilePath
  /// Open for writing.
  let descriptor: FileDescriptor
  private let temporary: FilePath
  private var isPublished = false

  /// Makes an empty file, hidden, with the permissions that the umask leaves: open(2) with O_EXCL.
  init(for path: FilePath) throws(Failure) {
    self.path = path
    let directory = path.removingLastComponent()
    // The name says whose it is should a crash leave it behind; NAME_MAX is 255.
    let stem = "." + String(decoding: path.fileName.prefix(100), as: UTF8.self) + ".stpack-"
    var attempts = 100
    while true {
      let name = stem + String(UInt32.random(in: 0 ... .max), radix: 36)
      let temporary = directory.appending(name)
      do {
        descriptor = try FileDescriptor.open(
          temporary, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec],
          permissions: FilePermissions(rawValue: 0o666))
        self.temporary = temporary
        return
      } catch {
        attempts -= 1
        let error = error as? Errno ?? .ioError
        guard error == .fileExists, attempts > 0 else { throw Self.failure(error, path, "create") }
      }
    }
  }

  deinit {
    try? descriptor.close()
    if !isPublished { _ = unsafe temporary.withPlatformString { unsafe unlink($0) } }
  }

  /// Refuses what stands in the way of a file: anything but a regular file, and one of those unless it is to be
  /// replaced.
  static func check(_ path: FilePath, replaces: Bool) throws(Failure) {
    // Of a link, the link: it is what would be replaced.
    guard let type = try? Stat(path, followTargetSymlink: false).type else { return }
    guard type == .regular || type == .symbolicLink else {
      throw Failure(status: EX_CANTCREAT, "\(path.printable): there is something that is not a regular file")
    }
    guard replaces else { throw exists(path) }
  }

  private static func exists(_ path: FilePath) -> Failure {
    Failure(status: EX_CANTCREAT, "\(path.printable): it exists already; --force replaces it")
  }

  /// Makes sure that the bytes are on the disk: fsync(2).
  func synchronize() throws(Failure) {
    guard fsync(descriptor.rawValue) == 0 else { throw failure(Errno(rawValue: errno), "write") }
  }

  /// Gives the file its name: rename(2), or, where nothing may be replaced, link(2), which never does.
  func publish(replaces: Bool) throws(Failure) {
    if !replaces {
      let result = unsafe temporary.withPlatformString { old in
        unsafe path.withPlatformString { new in unsafe link(old, new) }
      }
      if result == 0 { return }
      let error = Errno(rawValue: errno)
      if error == .fileExists { throw Self.exists(path) }
      // Some file systems have no links; a file that appears in this moment is replaced there.
      try Self.check(path, replaces: false)
    }
    let result = unsafe temporary.withPlatformString { old in
      unsafe path.withPlatformString { new in unsafe rename(old, new) }
    }
    guard result == 0 else { throw failure(Errno(rawValue: errno), "create") }
    isPublished = true
  }

  /// Takes a published file away again.
  func withdraw() { _ = unsafe path.withPlatformString { unsafe unlink($0) } }

  /// What to say of an error that writing gave.
  func failure(_ error: Errno, _ action: String) -> Failure { Self.failure(error, path, action) }

  private static func failure(_ error: Errno, _ path: FilePath, _ action: String) -> Failure {
    let status: Int32
    switch error {
    case .permissionDenied, .notPermitted: status = EX_NOPERM
    case .noSuchFileOrDirectory, .notDirectory, .isDirectory, .fileExists, .readOnlyFileSystem,
      .fileNameTooLong,
      .tooManySymbolicLinkLevels:
      status = EX_CANTCREAT
    default: status = EX_OSERR
    }
    return Failure(status: status, "\(path.printable): cannot \(action) it: \(error)")
  }
}
