import Glibc
import SystemPackage

/// A directory stream: opendir(3), readdir(3) and others.
@safe final class Listing {
  /// One entry, and the position after it.
  struct Entry: Equatable {
    let name: FilePath
    let inode: UInt64
    let next: Int
  }

  private let stream: OpaquePointer

  init(_ path: FilePath) throws {
    guard let stream = unsafe path.withPlatformString({ unsafe opendir($0) }) else {
      throw Errno(rawValue: errno)
    }
    unsafe self.stream = stream
  }

  deinit { unsafe closedir(stream) }

  /// The next entry, `.` and `..` too: readdir(3).
  func next() throws -> Entry? {
    errno = 0
    guard let entry = unsafe readdir(stream) else {
      if errno != 0 { throw Errno(rawValue: errno) }
      return nil
    }
    let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
      unsafe pointer.withMemoryRebound(to: CInterop.PlatformChar.self, capacity: 256) {
        unsafe FilePath(platformString: $0)
      }
    }
    return unsafe Entry(name: name, inode: UInt64(entry.pointee.d_ino), next: telldir(stream))
  }

  /// The entries from the current position to the end.
  func rest() throws -> [Entry] {
    var entries: [Entry] = []
    while let entry = try next() { entries.append(entry) }
    return entries
  }

  /// seekdir(3).
  func seek(to position: Int) { unsafe seekdir(stream, position) }

  /// rewinddir(3).
  func rewind() { unsafe rewinddir(stream) }
}

/// The files and directories below a directory.
struct Walk {
  /// Paths of files, relative to the directory.
  var files: [FilePath] = []
  /// Paths of directories, relative to the directory, which is not in the list.
  var directories: [FilePath] = []

  init(_ root: FilePath) throws { try enter(root, below: FilePath("")) }

  private mutating func enter(_ directory: FilePath, below path: FilePath) throws {
    for entry in try Listing(directory).rest() where entry.name != "." && entry.name != ".." {
      let child = path.appending(entry.name.components)
      let status = try Stat(directory.appending(entry.name.components), followTargetSymlink: false)
      switch status.type {
      case .directory:
        directories.append(child)
        try enter(directory.appending(entry.name.components), below: child)
      case .regular: files.append(child)
      default: throw Machine.Unfit(description: "\(child) is neither a file nor a directory")
      }
    }
  }
}
