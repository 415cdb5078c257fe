internal import CLinux
internal import Glibc
package import SystemPackage

/// What the file system that holds a file can be relied on for: fstatfs(2).
package struct FileSystemKind: Sendable {
  /// Which changes of a file this kernel reports by inotify(7).
  package enum Reports: Sendable {
    /// All that are system calls: nobody reaches the file but through this kernel.
    case all
    /// Those through this mount alone: an overlay, whose layers can be written to directly.
    case ownMount
    /// Not those of other machines and programs: a network file system, FUSE, and what is unknown.
    case some
  }

  /// Which changes inotify reports.
  package let reports: Reports
  /// True if a file's change time can stay the same over two changes, between which it was looked at.
  package let hasCoarseTimes: Bool

  /// The kind of file system that holds an open file, whose change time has these nanoseconds beside its seconds.
  package init(of file: FileDescriptor, nanoseconds: Int) {
    self.init(
      magic: stmount_file_system_magic(file.rawValue), kernel: Self.kernelVersion, nanoseconds: nanoseconds)
  }

  /// The same of a number of statfs(2), for a kernel of a version.
  init(magic: UInt32, kernel: (major: Int, minor: Int), nanoseconds: Int) {
    reports =
      if Self.overlay == magic {
        .ownMount
      } else {
        Self.fineGrained.contains(magic) || Self.otherLocal.contains(magic) ? .all : .some
      }
    // Whole seconds are what ext4 has room for in inodes of 128 bytes. Nobody can set a change time.
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

  /// The running kernel's: uname(2).
  private static var kernelVersion: (major: Int, minor: Int) {
    var names = utsname()
    unsafe uname(&names)
    let release = unsafe withUnsafeBytes(of: names.release) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    return numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
  }
}
