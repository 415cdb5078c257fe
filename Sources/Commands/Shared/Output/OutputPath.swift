import Glibc
import Linux
import Models
import SystemPackage

/// The path of an output file.
struct OutputPath {
  /// The file: the given path, or the target of its symbolic links.
  let file: FilePath
  /// The existing regular file, which is to be replaced.
  let replaced: Stat?

  /// The directory that the file is to be in.
  var directory: FilePath { file.parent }

  /// The most links that Linux follows for one path.
  private static let maximumLinks = 40

  /// Refuses a path with anything but a regular file, or with a regular file that may not be replaced, or in a
  /// directory that does not exist.
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
    // The link of an open file in /proc has the file's former name.
    let found = try? Stat(file)
    guard found?.inode == replaced.inode, found?.deviceID == replaced.deviceID else {
      throw Failure(status: EX_CANTCREAT, "\(name): it leads to a deleted file")
    }
  }

  /// stat(2), which follows links; nil if nothing exists.
  private static func status(_ path: FilePath) throws(Errno) -> Stat? {
    do throws(Errno) {
      return try Stat(path)
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }

  /// The path with symbolic links in its last component resolved, one after the other: readlink(2).
  private static func followingLinks(_ path: FilePath) throws(Errno) -> FilePath {
    var path = path
    for _ in 0..<maximumLinks {
      guard let target = try linkTarget(path) else { return path }
      path = target.isAbsolute ? target : path.removingLastComponent().pushing(target)
    }
    throw .tooManySymbolicLinkLevels
  }

  private static func linkTarget(_ path: FilePath) throws(Errno) -> FilePath? {
    do throws(Errno) {
      return try path.linkTarget()
    } catch .invalidArgument, .noSuchFileOrDirectory {
      // EINVAL: it is not a link.
      return nil
    }
  }
}
