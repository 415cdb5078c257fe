package import SystemPackage

/// Small files of the system.
package enum TextFile {
  /// The lines of a small file, such as one of procfs, at most 64 KiB; none if it cannot be read.
  package static func lines(_ path: FilePath) -> [Substring] {
    guard let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) else { return [] }
    defer { try? file.close() }
    let bytes = try? unsafe [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
      count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(buffer))
    }
    return String(decoding: bytes ?? [], as: UTF8.self).split(separator: "\n")
  }
}
