internal import CLinux
package import SystemPackage

/// What a file system has free: statfs(2).
package struct FreeSpace {
  /// In bytes, for this user.
  package let bytes: UInt64
  /// True if a copy of a file can share its blocks, and so need not take any.
  package let sharesBlocks: Bool

  /// The space where a directory or file is; nil if the file system does not tell.
  package init?(at path: FilePath) {
    var space = stmount_space()
    guard unsafe path.withPlatformString({ unsafe stmount_get_space($0, &space) }) == 0 else { return nil }
    bytes = space.free
    sharesBlocks = space.shares_blocks != 0
  }
}
