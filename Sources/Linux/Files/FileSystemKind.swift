internal import CLinux
package import SystemPackage

/// What a file system reports about changes, by its type: fstatfs(2).
package struct FileSystemKind: Sendable {
  /// Which changes of a file this kernel reports by inotify(7).
  package enum Reports: Sendable {
    /// All changes by system calls: every access to the file goes through this kernel.
    case all
    /// Only changes through this mount: an overlay, whose layers can be written to directly.
    case ownMount
    /// Not those by other machines and programs: a network file system, FUSE, and unknown file systems.
    case some
  }

  /// Which changes inotify reports.
  package let reports: Reports
  /// True if the change time can stay the same over two changes, even if it was read between them.
  package let hasCoarseTimes: Bool

  /// The kind of the file system of an open file, whose change time has these nanoseconds.
  package init(of file: FileDescriptor, nanoseconds: Int) {
    self.init(
      magic: stmount_file_system_magic(file.rawValue), kernel: KernelVersion.numbers,
      nanoseconds: nanoseconds)
  }

  /// The same for a file system type of statfs(2) and a kernel version.
  init(magic: UInt32, kernel: (major: Int, minor: Int), nanoseconds: Int) {
    reports =
      if Self.overlay == magic {
        .ownMount
      } else {
        Self.fineGrained.contains(magic) || Self.otherLocal.contains(magic) ? .all : .some
      }
    // ext4 stores whole seconds in inodes of 128 bytes. A change time cannot be set by users, so 0 ns means that.
    hasCoarseTimes =
      kernel < (6, 13) || !Self.fineGrained.contains(magic) || nanoseconds == 0
  }

  /// File systems with multigrain timestamps since Linux 6.13: ext4 (and ext2 and ext3 by its driver), XFS, Btrfs, tmpfs.
  private static let fineGrained: Set<UInt32> = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994]
  /// F2FS, ZFS, bcachefs, EROFS, SquashFS, ISO 9660, UDF, FAT, exFAT, NTFS.
  private static let otherLocal: Set<UInt32> = [
    0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E, 0xE0F5_E1E2, 0x7371_7368, 0x9660, 0x1501_3346, 0x4D44, 0x2011_BAB0,
    0x7366_746E,
  ]
  private static let overlay: UInt32 = 0x794C_7630
}
