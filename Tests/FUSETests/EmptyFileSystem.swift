import SystemPackage

@testable import FUSE
import Linux

/// A file system that has only a root directory.
struct EmptyFileSystem: FileSystem {
  func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes? { nil }

  func attributes(of inode: InodeNumber) throws(Errno) -> Attributes {
    let time = Attributes.Time(seconds: 0, nanoseconds: 0)
    return Attributes(
      inode: .root, kind: .directory, permissions: 0o555, linkCount: 2, size: 0, owner: 0, group: 0,
      accessTime: time, modificationTime: time, changeTime: time)
  }

  func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer)
    throws(Errno)
  {}

  func read(_ file: InodeNumber, at offset: UInt64, count: Int) throws(Errno) -> ReadAnswer {
    throw .isDirectory
  }

  func statistics() -> Statistics { Statistics(size: 0, inodes: 1) }
}
