internal import CLinux
internal import Glibc
internal import Linux
internal import SystemPackage

/// Asks a mount whether it answers, in a process of its own, which may wait for ever: statvfs(3).
struct MountProbe {
  /// What came of asking.
  enum Answer {
    case alive
    /// The connection to its daemon is cut: ENOTCONN.
    case dead
    /// Nothing in time.
    case late
    /// This user may not ask it, or its path does not lead to it.
    case refused
  }

  /// How long mounts have to answer, all of them together.
  static let patience = Duration.seconds(2)

  private let process: Int32

  /// Begins to ask the mount that a mount point leads to, as the user who has mounted it where that is permitted: other users,
  /// root among them, are not answered. Nil where no process can be had. No thread may have been started.
  init?(_ mount: MountTable.Entry) {
    let process = stmount_fork()
    guard process >= 0 else { return nil }
    if process == 0 { Self.ask(mount) }
    self.process = process
  }

  /// The new process. Its exit status is the answer.
  private static func ask(_ mount: MountTable.Entry) -> Never {
    if geteuid() == 0, let owner = mount.owner, owner.user != 0 {
      _ = setgroups(0, nil)
      _ = setgid(owner.group)
      _ = setuid(owner.user)
    }
    var status = statvfs()
    if unsafe mount.mountPoint.withPlatformString({ unsafe statvfs($0, &status) }) == 0 {
      // The kernel itself answers those who may not ask, with zeros.
      _exit(status.f_bsize > 0 ? 0 : 2)
    }
    let error = Errno(rawValue: errno)
    _exit(error == .socketNotConnected || error == .connectionAbort ? 1 : 2)
  }

  /// What mounts answer, `nil` being one that could not be asked. Processes that still wait are killed, and not waited for.
  static func answers(of probes: [MountProbe?]) -> [Answer] {
    var answers: [Answer?] = probes.map { $0 == nil ? .refused : nil }
    let end = ContinuousClock.now + patience
    while true {
      for (index, probe) in probes.enumerated() where answers[index] == nil {
        if let probe { answers[index] = probe.answer }
      }
      if !answers.contains(where: { $0 == nil }) || ContinuousClock.now >= end { break }
      usleep(1_000)
    }
    for (index, probe) in probes.enumerated() where answers[index] == nil {
      if let probe { kill(probe.process, SIGKILL) }
    }
    return answers.map { $0 ?? .late }
  }

  /// The answer; nil as long as there is none: waitpid(2) with WNOHANG.
  private var answer: Answer? {
    var status: Int32 = 0
    guard unsafe waitpid(process, &status, WNOHANG) == process else { return nil }
    guard status & 0x7F == 0 else { return .refused }
    return switch status >> 8 & 0xFF {
    case 0: .alive
    case 1: .dead
    default: .refused
    }
  }
}
