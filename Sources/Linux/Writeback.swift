import Glibc
import SystemPackage

extension FileDescriptor {
  /// Has the kernel begin to write bytes of the file to the disk, and waits for none of them: sync_file_range(2), which
  /// Glibc's module hides. So the fsync(2) at the end finds little left to do.
  ///
  /// Only a hint: what goes wrong is for fsync to tell.
  package func beginWriteback(of range: Range<UInt64>) {
    typealias Function = @convention(c) (CInt, Int64, Int64, CUnsignedInt) -> CInt
    guard let symbol = unsafe dlsym(nil, "sync_file_range") else { return }
    // The declaration in fcntl.h.
    let function = unsafe unsafeBitCast(symbol, to: Function.self)
    let isWrite: CUnsignedInt = 2  // SYNC_FILE_RANGE_WRITE
    _ = function(rawValue, Int64(range.lowerBound), Int64(range.count), isWrite)
  }
}
