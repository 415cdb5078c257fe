import SystemPackage

/// One line of /proc/self/mountinfo: proc_pid_mountinfo(5). The paths in these tests need no unescaping.
struct MountInfo: Sendable {
  /// The minor device number. The major number of a FUSE file system is 0.
  let device: Int
  let mountPoint: FilePath
  let options: Set<Substring>
  let type: Substring
  let source: Substring
  let fileSystemOptions: Set<Substring>

  private init?(_ line: Substring) {
    let halves = line.split(separator: " - ", maxSplits: 1)
    guard let fields = halves.first?.split(separator: " "), fields.count >= 6,
      let rest = halves.last?.split(separator: " ", omittingEmptySubsequences: false), rest.count == 3,
      let device = fields[2].split(separator: ":").last.flatMap({ Int($0) })
    else { return nil }
    self.device = device
    mountPoint = FilePath(String(fields[4]))
    options = Set(fields[5].split(separator: ","))
    type = rest[0]
    source = rest[1]
    fileSystemOptions = Set(rest[2].split(separator: ","))
  }

  /// The mounts at a path, the topmost one last, in the mount namespace of this process or another one.
  static func all(at path: FilePath, of process: String = "self") throws -> [MountInfo] {
    let text = String(decoding: try OpenFile(FilePath("/proc/\(process)/mountinfo")).bytes(), as: UTF8.self)
    return text.split(separator: "\n").compactMap(MountInfo.init).filter { $0.mountPoint == path }
  }
}
