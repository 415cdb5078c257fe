internal import Glibc
internal import Linux
internal import SystemPackage

extension Session {
  /// The kernel's read-ahead on this mount, in KiB. It starts with 128; more than 1024 gains nothing.
  private static let wantedKiB = 1024

  /// Raises the kernel's read-ahead, if this user may: read_ahead_kb of sysfs. Never lowers it.
  ///
  /// Call it when the mount answers; before that, the kernel would restore its own value. Returns nil, or the command
  /// with which root can do it.
  package func raiseKernelReadAhead() -> String? {
    guard let device else { return nil }
    let path = "/sys/class/bdi/\(device)/read_ahead_kb"
    guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else {
      return nil
    }
    let text = try? unsafe [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
      count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(buffer))
    }
    try? file.close()
    guard let digits = text?.prefix(while: { $0 >= UInt8(ascii: "0") }),
      let current = Int(String(decoding: digits, as: UTF8.self)), current < Self.wantedKiB
    else { return nil }
    do {
      let file = try FileDescriptor.open(FilePath(path), .writeOnly, options: .closeOnExec)
      defer { try? file.close() }
      try file.writeAll("\(Self.wantedKiB)\n".utf8)
      return nil
    } catch {
      return "echo \(Self.wantedKiB) | sudo tee \(path)"
    }
  }
}
