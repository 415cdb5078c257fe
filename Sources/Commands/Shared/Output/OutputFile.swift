import Glibc
import Linux
import Models
import Safetensors
import SystemPackage

/// A file that appears under its name only when it is complete.
///
/// It has no name until then, if the file system has O_TMPFILE, so that not even SIGKILL leaves a file. Otherwise it
/// has another name in the same directory, and is removed with the object.
final class OutputFile {
  /// Its name in messages; safe to print.
  let name: String
  /// Open for writing.
  let descriptor: FileDescriptor
  /// The final path; nil for a stream.
  private let path: OutputPath?
  /// Its temporary path; nil if it has no name, or its final one.
  private var hidden: FilePath?

  /// True for standard output.
  var isStream: Bool { path == nil }

  /// Standard output; it gets the bytes at once.
  init() {
    name = "standard output"
    descriptor = .standardOutput
    path = nil
  }

  /// Makes an empty file: open(2) with O_TMPFILE or O_EXCL. It has the permissions that the umask allows, or the mode and,
  /// as far as permitted, the owner of the file that it replaces.
  init(for path: OutputPath) throws(Failure) {
    self.path = path
    name = path.file.printable
    let permissions = FilePermissions(rawValue: path.replaced == nil ? 0o666 : 0o600)
    if let unnamed = try? FileDescriptor.openUnnamed(in: path.directory, permissions: permissions) {
      descriptor = unnamed
    } else {
      do throws(Errno) {
        (descriptor, hidden) = try Self.hidden(in: path.directory) { hidden throws(Errno) in
          let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
          let result = unsafe hidden.withPlatformString { unsafe open($0, flags, permissions.rawValue) }
          guard result >= 0 else { throw Errno(rawValue: errno) }
          return FileDescriptor(rawValue: result)
        }
      } catch {
        throw Self.failure(error, name, "create")
      }
    }
    if let replaced = path.replaced { keepAttributes(of: replaced) }
  }

  deinit {
    if let hidden { _ = unsafe hidden.withPlatformString { unsafe unlink($0) } }
    if path != nil { try? descriptor.close() }
  }

  /// Calls `make` with unused names until it succeeds.
  private static func hidden<Result>(
    in directory: FilePath, _ make: (FilePath) throws(Errno) -> Result
  ) throws(Errno) -> (Result, FilePath) {
    var attempts = 100
    while true {
      let path = directory.appending(".stmount-" + String(UInt64.random(in: 0 ... .max), radix: 36))
      do throws(Errno) {
        return (try make(path), path)
      } catch {
        attempts -= 1
        guard error == .fileExists, attempts > 0 else { throw error }
      }
    }
  }

  /// fchown(2), fchmod(2). If the owner cannot be set, the file is not setuid or setgid.
  private func keepAttributes(of replaced: Stat) {
    var mode = replaced.permissions
    let (user, group) = (replaced.userID.rawValue, replaced.groupID.rawValue)
    if fchown(descriptor.rawValue, user, group) != 0 {
      mode.subtract([.setUserID, .setGroupID])
      _ = fchown(descriptor.rawValue, uid_t.max, group)
    }
    _ = fchmod(descriptor.rawValue, mode.rawValue)
  }

  /// Makes sure that the bytes are on the disk: fsync(2). For a stream, that is the reader's task.
  func synchronize() throws(Failure) {
    guard path == nil || fsync(descriptor.rawValue) == 0 else {
      throw failure(Errno(rawValue: errno), "write")
    }
  }

  /// Gives the file its name, and replaces another file only if requested.
  func publish(replaces: Bool) throws(Failure) {
    guard let path else { return }
    do throws(Errno) {
      if let hidden {
        try Self.move(hidden, to: path.file, replaces: replaces)
      } else {
        do throws(Errno) {
          try descriptor.link(at: path.file)
        } catch .fileExists where replaces {
          // Only rename(2) replaces a file, and it needs a name.
          (_, hidden) = try Self.hidden(in: path.directory) { hidden throws(Errno) in
            try descriptor.link(at: hidden)
          }
          if let hidden { try Self.move(hidden, to: path.file, replaces: true) }
        }
      }
    } catch {
      throw error == .fileExists ? Self.exists(name) : failure(error, "create")
    }
  }

  /// rename(2), or link(2) if nothing may be replaced, since link(2) never replaces; deinit removes the old name.
  private static func move(_ old: FilePath, to new: FilePath, replaces: Bool) throws(Errno) {
    let error: CInt = unsafe old.withPlatformString { old in
      unsafe new.withPlatformString { new -> CInt in
        if !replaces {
          if unsafe link(old, new) == 0 { return 0 }
          if errno == EEXIST { return EEXIST }
          // Some file systems have no links. There, a file that appears at this moment is replaced.
          if unsafe access(new, F_OK) == 0 { return EEXIST }
        }
        return unsafe rename(old, new) == 0 ? 0 : errno
      }
    }
    if error != 0 { throw Errno(rawValue: error) }
  }

  /// Removes a published file again.
  func withdraw() {
    if let path { _ = unsafe path.file.withPlatformString { unsafe unlink($0) } }
  }

  /// Refuses an output that cannot fit, before anything is written. Of its bytes, only the new ones take space if the file system
  /// can share blocks. A limit that the file system does not report, such as a quota, is an error while writing.
  static func checkSpace(
    at directory: FilePath, for output: FilePath, byteCount: UInt64, newByteCount: UInt64
  ) throws(Failure) {
    guard let space = FreeSpace(at: directory) else { return }
    let needed = space.sharesBlocks ? newByteCount : byteCount
    guard needed > space.bytes else { return }
    throw Failure(
      status: EX_CANTCREAT,
      "\(output.printable): not enough free space: it takes \(needed) bytes, and \(space.bytes) are free; "
        + "free some, leave tensors out with --exclude, or choose another file system")
  }

  static func exists(_ name: String) -> Failure {
    Failure(status: EX_CANTCREAT, "\(name): it exists already; --force replaces it")
  }

  /// The failure for an error of writing.
  func failure(_ error: Errno, _ action: String) -> Failure { Self.failure(error, name, action) }

  /// The failure for an error of copying to this file; `source` is the file that was read, and `tensor` the tensor, if they are
  /// known.
  func failure(_ problem: FileCopier.Problem, copying source: FilePath?, tensor: TensorName? = nil) -> Failure
  {
    let source = source?.printable ?? "the source"
    let part = tensor.map { "tensor \($0)" } ?? "it"
    switch problem {
    case .source(let error): return .reading(error, "\(source): cannot read \(part)")
    case .target(let error): return failure(error, "write")
    case .either(let error): return .system("\(source): cannot copy \(part) to \(name): \(error)")
    }
  }

  /// The failure for an error; `name` is safe to print.
  static func failure(_ error: Errno, _ name: String, _ action: String) -> Failure {
    let status: Int32
    switch error {
    case .permissionDenied, .notPermitted: status = EX_NOPERM
    case .noSuchFileOrDirectory, .notDirectory, .isDirectory, .fileExists, .readOnlyFileSystem,
      .fileNameTooLong,
      .tooManySymbolicLinkLevels:
      status = EX_CANTCREAT
    default: status = EX_OSERR
    }
    return Failure(status: status, "\(name): cannot \(action) it: \(error)")
  }
}
