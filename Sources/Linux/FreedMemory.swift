internal import CLinux

/// Returning freed memory to the system.
package enum FreedMemory {
  /// Makes freed blocks of 256 KiB and more return to the system at once: mallopt(3). A daemon's workers need such buffers
  /// occasionally, and would otherwise keep half a MiB each.
  package static func returnLargeBlocks() { stmount_return_blocks(256 << 10) }
}
