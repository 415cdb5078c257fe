import Glibc
import Models
import SystemPackage

/// Where a file is to appear.
struct OutputPath {
  /// The file: the path that was given, or where its symbolic links lead.
  let file: FilePath
  /// The regular file that is there now, and is to be replaced.
  let replaced: Stat?

  /// The directory that the file is to be in.
  var directory: FilePath {
    let directory = file.removingLastComponent()
    return directory.isEmpty ? "." : directory
  }

  /// The most links that Linux follows for one path.
  private static let maximumLinks = 40

  /// Refuses what is in the way of a file: anything but a regular file, and one of those unless it is to be replaced;
  /// and a directory that does not exist.
  init(_ path: FilePath, replaces: Bool) throws(Failure) {
    let name = path.printable
    let hasDirectory: Bool
    do throws(Errno) {
      replaced = try Self.status(path)
      file = try Self.followingLinks(path)
      hasDirectory = try Self.status(directory) != nil
    } catch {
      throw OutputFile.failure(error, name, "create")
    }
    guard hasDirectory else {
      throw Failure(
        status: EX_CANTCREAT,
        "\(name): the directory \(directory.printable) does not exist; create it first: mkdir -p "
          + directory.printable)
    }
    guard let replaced else { return }
    guard replaced.type == .regular else {
      throw Failure(
        status: EX_CANTCREAT, "\(name): it exists, and is not a regular file; only those are replaced")
    }
    guard replaces else { throw OutputFile.exists(name) }
    // The link of an open file in /proc says what the file was called once.
    let found = try? Stat(file)
    guard found?.inode == replaced.inode, found?.deviceID == replaced.deviceID else {
      throw Failure(status: EX_CANTCREAT, "\(name): it leads to a deleted file")
    }
  }

  /// stat(2), which follows links; nil where there is nothing.
  private static func status(_ path: FilePath) throws(Errno) -> Stat? {
    do throws(Errno) {
      return try Stat(path)
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }

  /// The path with the links that its last component is, one after the other, replaced by what they say: readlink(2).
  private static func followingLinks(_ path: FilePath) throws(Errno) -> FilePath {
    var path = path
    for _ in 0..<maximumLinks {
      guard let target = try linkTarget(path) else { return path }
      path = target.isAbsolute ? target : path.removingLastComponent().pushing(target)
    }
    throw .tooManySymbolicLinkLevels
  }

  private static func linkTarget(_ path: FilePath) throws(Errno) -> FilePath? {
    var target = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe path.withPlatformString { unsafe readlink($0, &target, target.count) }
    if count >= 0 { return FilePath(bytes: target[..<count].map { UInt8(bitPattern: $0) }) }
    let error = Errno(rawValue: errno)
    // EINVAL: it is none.
    guard error == .invalidArgument || error == .noSuchFileOrDirectory else { throw error }
    return nil
  }
}
