internal import Linux
internal import SystemPackage

extension Session {
  /// The kernel's read-ahead on this mount, in KiB. It starts with 128; more than 1024 gains nothing.
  private static let wantedKiB = 1024

  private var readAheadPath: FilePath? { device.map { FilePath("/sys/class/bdi/\($0)/read_ahead_kb") } }

  /// The kernel's read-ahead on this mount in KiB; nil if it is not in sysfs.
  var kernelReadAheadKiB: Int? { readAheadPath.flatMap { TextFile.lines($0).first }.flatMap { Int($0) } }

  /// Raises the kernel's read-ahead, if this user may: read_ahead_kb of sysfs. Never lowers it.
  ///
  /// Call it when the mount answers; before that, the kernel would restore its own value. Returns nil, or the command
  /// with which root can do it.
  package func raiseKernelReadAhead() -> String? {
    guard let path = readAheadPath, let current = kernelReadAheadKiB, current < Self.wantedKiB else {
      return nil
    }
    do {
      let file = try FileDescriptor.open(path, .writeOnly, options: .closeOnExec)
      defer { try? file.close() }
      try file.writeAll("\(Self.wantedKiB)\n".utf8)
      return nil
    } catch {
      return "echo \(Self.wantedKiB) | sudo tee \(path)"
    }
  }
}
