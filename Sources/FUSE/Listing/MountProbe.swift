internal import CLinux
internal import Glibc
internal import SystemPackage

/// Asks a FUSE mount whether its daemon answers, in a process of its own, which may wait for ever: fstatfs(2), since stat(2) of a
/// dead mount still gives what the kernel remembers.
struct MountProbe {
  /// The result of a probe.
  enum Answer {
    case alive
    /// The connection to its daemon is cut: ENOTCONN.
    case dead
    /// No answer in time.
    case late
    /// This user may not ask it, or no process can be started.
    case refused
  }

  /// How long mounts have to answer, all of them together.
  static let patience = Duration.seconds(2)

  private let process: Int32

  /// Starts to ask the mount that a directory is in, as the user who mounted it if this process is root's: other users, root
  /// among them, are not answered. Nil if no process can be started.
  init?(_ root: FileDescriptor, ownedBy owner: MountTable.Owner?) {
    process = stmount_ask_file_system(root.rawValue, owner?.user ?? 0, owner?.group ?? 0)
    if process < 0 { return nil }
  }

  /// The answer of one mount, within ``patience``.
  static func answer(of root: FileDescriptor, ownedBy owner: MountTable.Owner?) -> Answer {
    answers(of: [MountProbe(root, ownedBy: owner)])[0]
  }

  /// The answers of mounts; `nil` stands for one that could not be asked. Processes that still wait are killed.
  static func answers(of probes: [MountProbe?]) -> [Answer] {
    var answers: [Answer?] = probes.map { $0 == nil ? .refused : nil }
    let end = ContinuousClock.now + patience
    while true {
      for (index, probe) in probes.enumerated() where answers[index] == nil { answers[index] = probe?.answer }
      if !answers.contains(where: { $0 == nil }) || ContinuousClock.now >= end { break }
      usleep(1_000)
    }
    for (index, probe) in probes.enumerated() where answers[index] == nil {
      // If it cannot be killed, it ends when the file system answers. Nobody waits for it then.
      if let probe { kill(probe.process, SIGKILL) }
    }
    return answers.map { $0 ?? .late }
  }

  /// The answer; nil as long as there is none: waitpid(2) with WNOHANG.
  private var answer: Answer? {
    var status: Int32 = 0
    guard unsafe waitpid(process, &status, WNOHANG) == process else { return nil }
    guard status & 0x7F == 0 else { return .refused }
    return switch Errno(rawValue: status >> 8 & 0xFF) {
    case Errno(rawValue: 0): .alive
    case .socketNotConnected, .connectionAbort: .dead
    default: .refused
    }
  }
}
