internal import Linux
internal import SystemPackage

/// A stmount(1) process, read from /proc: proc_pid_stat(5), proc_pid_fdinfo(5), proc_pid_cmdline(5).
struct DaemonProcess: Sendable {
  let id: Int32
  /// The arguments of its command line.
  var arguments: [[UInt8]] = []
  /// The device numbers, as `MAJOR:MINOR`, of the mounts that it serves. None where the kernel does not tell (before Linux 6.16)
  /// or does not tell this user.
  var devices: [String] = []
  /// A signal or a debugger has stopped it.
  var isStopped = false

  /// Every process of this program that can be seen.
  static func all() -> [DaemonProcess] {
    let names = (try? FilePath("/proc").entryNames()) ?? []
    return names.compactMap { Int32(String(decoding: $0, as: UTF8.self)) }.sorted().compactMap(read)
  }

  /// Reads a process from /proc; nil if it is another program's, or gone.
  private static func read(_ id: Int32) -> DaemonProcess? {
    let directory = FilePath("/proc/\(id)")
    guard let name = TextFile.lines(directory.appending("comm")).first,
      name == "stmount" || name.hasPrefix("mount.")
    else { return nil }
    var process = DaemonProcess(id: id)
    let line = TextFile.lines(directory.appending("cmdline")).joined(separator: "\n")
    process.arguments = line.utf8.split(separator: 0).map { Array($0) }
    // The name may hold anything, and ends with the last parenthesis.
    let status = TextFile.lines(directory.appending("stat")).joined(separator: " ")
    let state = status.lastIndex(of: ")").flatMap { status[$0...].dropFirst(2).first }
    process.isStopped = state == "T" || state == "t"
    let descriptors = directory.appending("fdinfo")
    for descriptor in (try? descriptors.entryNames()) ?? [] {
      let lines = TextFile.lines(descriptors.appending(String(decoding: descriptor, as: UTF8.self)))
      if let device = fuseDevice(in: lines), !process.devices.contains(device) {
        process.devices.append(device)
      }
    }
    return process
  }

  /// The device number of the file system behind a connection to /dev/fuse, out of its fdinfo (Linux 6.16).
  static func fuseDevice(in lines: [Substring]) -> String? {
    let words = lines.lazy.map { $0.split(whereSeparator: \.isWhitespace) }
    return words.first { $0.count == 2 && $0[0] == "fuse_connection:" }.map { "0:\($0[1])" }
  }

  /// True if an argument of the process is the mount point. Of a relative path, only its own components are compared: the daemon has
  /// left the directory that the path started from.
  func isStarted(for mountPoint: FilePath) -> Bool {
    arguments.dropFirst().contains { argument in
      let path = FilePath(bytes: argument).lexicallyNormalized()
      if path.isAbsolute { return path == mountPoint }
      return !path.isEmpty && mountPoint.ends(with: path)
    }
  }

  /// The process that serves a mount: the one whose fdinfo has the mount's device; otherwise the only one whose command line names
  /// the mount point.
  static func serving(_ mount: MountTable.Entry, among processes: [DaemonProcess]) -> DaemonProcess? {
    if let process = processes.first(where: { $0.devices.contains(mount.device) }) { return process }
    let started = processes.filter { $0.devices.isEmpty && $0.isStarted(for: mount.mountPoint) }
    return started.count == 1 ? started[0] : nil
  }
}
