internal import CLinux

/// What becomes of memory that is freed.
package enum FreedMemory {
  /// Has blocks of 256 KiB and more go back to the system at once: mallopt(3). A daemon's workers need such buffers now and then,
  /// and would keep half a MiB each.
  package static func returnLargeBlocks() { stmount_return_blocks(256 << 10) }
}
