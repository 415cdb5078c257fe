internal import CLinux
internal import Glibc
package import SystemPackage

extension FileDescriptor {
  /// Starts write-back of bytes of the file, without waiting for it: sync_file_range(2). So the fsync(2) at the end has
  /// little left to do.
  ///
  /// Only a hint: fsync reports errors.
  package func beginWriteback(of range: Range<UInt64>) {
    stmount_begin_writeback(rawValue, Int(clamping: range.lowerBound), range.count)
  }

  /// Sends at most `count` bytes of a file to this pipe, socket or device, or to where this file is written next, and returns
  /// how many: sendfile(2). After sending to a pipe, ``waitUntilRead()`` waits for its reader.
  package func send(_ count: Int, from offset: UInt64, of source: FileDescriptor) throws(Errno) -> Int {
    let sent = stmount_sendfile(source.rawValue, off_t(clamping: offset), rawValue, count)
    guard sent >= 0 else { throw Errno(rawValue: errno) }
    return sent
  }

  /// Makes this pipe as large as any user may have it, so that its reader is woken less often: F_SETPIPE_SZ. False if it is not a
  /// pipe.
  package func enlargePipe() -> Bool {
    guard (try? Stat(self).type) == .fifo else { return false }
    // Fails if the user has too many such pipes.
    _ = stmount_set_pipe_size(rawValue, 1 << 20)
    return true
  }

  /// Waits until everything that was written to this pipe has been read: FIONREAD, poll(2). False if its reader is gone.
  ///
  /// A pipe holds pages of the file that was sent to it, so that a change of the file still changes what is read.
  package func waitUntilRead() -> Bool {
    while stmount_pipe_is_empty(rawValue) == 0 {
      // Without events: poll(2) reports only that the reader has closed its end.
      var request = pollfd(fd: rawValue, events: 0, revents: 0)
      if unsafe poll(&request, 1, 1) > 0 { return false }
    }
    return true
  }

  /// Has the kernel copy at most `count` bytes to where this file is written next, and returns how many it copied:
  /// copy_file_range(2), which shares blocks if the file system can.
  package func copy(_ count: Int, from offset: UInt64, of source: FileDescriptor) throws(Errno) -> Int {
    let copied = stmount_copy_range(source.rawValue, Int(clamping: offset), rawValue, count)
    guard copied >= 0 else { throw Errno(rawValue: errno) }
    return copied
  }
}
