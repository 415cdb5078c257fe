internal import CLinux

/// Returning freed memory to the system.
package enum FreedMemory {
  /// Returns what has been freed, and from now on freed blocks of 256 KiB and more at once: malloc_trim(3), mallopt(3). A daemon's
  /// workers need such buffers occasionally, and would otherwise keep half a MiB each.
  package static func returnToSystem() { stmount_return_freed_memory(256 << 10) }
}
