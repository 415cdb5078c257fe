internal import CLinux
internal import Glibc
package import SystemPackage

extension FileDescriptor {
  /// Has the kernel begin to write bytes of the file to the disk, and waits for none of them: sync_file_range(2). So the
  /// fsync(2) at the end finds little left to do.
  ///
  /// Only a hint: fsync reports what goes wrong.
  package func beginWriteback(of range: Range<UInt64>) {
    stmount_begin_writeback(rawValue, Int(clamping: range.lowerBound), range.count)
  }

  /// Has the kernel copy at most `count` bytes to where this file is written next, and returns how many it copied:
  /// copy_file_range(2), which shares blocks where the file system can.
  package func copy(_ count: Int, from offset: UInt64, of source: FileDescriptor) throws(Errno) -> Int {
    let copied = stmount_copy_range(source.rawValue, Int(clamping: offset), rawValue, count)
    guard copied >= 0 else { throw Errno(rawValue: errno) }
    return copied
  }
}
