internal import Glibc
internal import SystemPackage

/// The memory that is available without swapping: MemAvailable of /proc/meminfo. The file stays open, for threads that may open none.
package struct AvailableMemory: Sendable {
  private let file: OwnedFile?

  /// Opens the file.
  package init() {
    file = (try? FileDescriptor.open(FilePath("/proc/meminfo"), .readOnly, options: .closeOnExec)).map {
      OwnedFile($0)
    }
  }

  /// In bytes, as of now; `UInt64.max` where the system does not tell.
  package var bytes: UInt64 {
    let text = try? unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
      count =
        try unsafe file?.descriptor.read(
          fromAbsoluteOffset: 0, into: UnsafeMutableRawBufferPointer(buffer)) ?? 0
    }
    let lines = String(decoding: text ?? [], as: UTF8.self).split(separator: "\n")
    let line = lines.first { $0.hasPrefix("MemAvailable:") }
    let kibibytes = line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
    return kibibytes.map { $0 << 10 } ?? .max
  }
}
