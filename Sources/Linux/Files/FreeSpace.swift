internal import CLinux
package import SystemPackage

/// The free space of a file system: statfs(2).
package struct FreeSpace {
  /// In bytes, for this user.
  package let bytes: UInt64
  /// True if a copy of a file can share its blocks, and so takes no space.
  package let sharesBlocks: Bool

  /// The free space of the file system of a directory or file; nil if it does not tell.
  package init?(at path: FilePath) {
    var space = stmount_space()
    guard unsafe path.withPlatformString({ unsafe stmount_get_space($0, &space) }) == 0 else { return nil }
    bytes = space.free
    sharesBlocks = space.shares_blocks != 0
  }
}
