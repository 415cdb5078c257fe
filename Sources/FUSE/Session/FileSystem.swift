package import SystemPackage

/// A read-only file system whose contents never change while it is mounted.
///
/// So the kernel may cache every answer: entries, attributes and missing names for
/// ``Session/cacheSeconds``, listings and file contents until it needs the memory. The methods are called on
/// several threads at once. The reader's system call fails with the error that a method throws.
package protocol FileSystem: Sendable {
  /// Finds a name in a directory, or nil. `name` is one path component. lookup of libfuse.
  func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes?

  /// The attributes of an inode: stat(2).
  func attributes(of inode: InodeNumber) throws(Errno) -> Attributes

  /// Lists a directory from a position on, until it ends or `buffer` is full: readdir(3). Position 0 is the
  /// beginning; the others are those given to ``DirectoryBuffer/append(_:_:next:)``.
  func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer) throws(Errno)

  /// Bytes `offset..<offset + count` of a file, up to its end: read(2).
  func read(_ file: InodeNumber, at offset: UInt64, count: Int) throws(Errno) -> ReadAnswer

  /// The value of an extended attribute in the `user.` namespace: getxattr(2). Throws `noData` if there is none.
  func extendedAttribute(_ name: [UInt8], of inode: InodeNumber) throws(Errno) -> [UInt8]

  /// The names of an inode's extended attributes, without NUL: listxattr(2).
  func extendedAttributeNames(of inode: InodeNumber) throws(Errno) -> [[UInt8]]

  /// The file system's totals: statfs(2).
  func statistics() -> Statistics
}

extension FileSystem {
  /// There is none.
  package func extendedAttribute(_ name: [UInt8], of inode: InodeNumber) throws(Errno) -> [UInt8] {
    throw .noData
  }

  /// None.
  package func extendedAttributeNames(of inode: InodeNumber) throws(Errno) -> [[UInt8]] { [] }
}

/// The number of a file or directory. The root's is 1.
package struct InodeNumber: Hashable, Sendable {
  /// The number that the kernel and stat(2) use.
  package let number: UInt64

  /// The root directory: FUSE_ROOT_ID.
  package static let root = InodeNumber(number: 1)

  /// The inode of this number, which is never 0.
  package init(number: UInt64) { self.number = number }
}

/// The attributes of a file or directory, as stat(2) returns them.
package struct Attributes: Sendable {
  /// What an inode is.
  package enum Kind: Sendable {
    /// A regular file.
    case file
    /// A directory.
    case directory
  }

  /// A time since 1970, UTC.
  package struct Time: Sendable {
    /// Whole seconds.
    package let seconds: Int
    /// The rest, 0 to 999,999,999.
    package let nanoseconds: Int

    /// A time from its two parts.
    package init(seconds: Int, nanoseconds: Int) {
      self.seconds = seconds
      self.nanoseconds = nanoseconds
    }
  }

  /// The inode.
  package var inode: InodeNumber
  /// File or directory.
  package var kind: Kind
  /// The permission bits, at most 0777.
  package var permissions: UInt32
  /// The number of hard links; of a directory two and its subdirectories.
  package var linkCount: UInt64
  /// The size in bytes.
  package var size: UInt64
  /// The owner's user id.
  package var owner: UInt32
  /// The group's id.
  package var group: UInt32
  /// The last access.
  package var accessTime: Time
  /// The last change of the contents.
  package var modificationTime: Time
  /// The last change of the inode.
  package var changeTime: Time
  /// The best size for reads in bytes, a power of two: st_blksize, which cp(1) and cat(1) use.
  package var ioSize: UInt32 = 4096

  /// Attributes from their parts.
  package init(
    inode: InodeNumber, kind: Kind, permissions: UInt32, linkCount: UInt64, size: UInt64, owner: UInt32,
    group: UInt32, accessTime: Time, modificationTime: Time, changeTime: Time
  ) {
    self.inode = inode
    self.kind = kind
    self.permissions = permissions
    self.linkCount = linkCount
    self.size = size
    self.owner = owner
    self.group = group
    self.accessTime = accessTime
    self.modificationTime = modificationTime
    self.changeTime = changeTime
  }
}

/// The totals of a file system, as statfs(2) returns them.
package struct Statistics: Sendable {
  /// The size of all files together, in bytes.
  package var size: UInt64
  /// How many files and directories there are.
  package var inodes: UInt64

  /// Totals from their parts.
  package init(size: UInt64, inodes: UInt64) {
    self.size = size
    self.inodes = inodes
  }
}
