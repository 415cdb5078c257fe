package import SystemPackage

/// A mount of stmount(1), and its state.
package struct ServedMount: Sendable {
  /// Whether a mount answers.
  package enum State: String, Sendable {
    /// It answers.
    case alive
    /// Its daemon is gone.
    case dead
    /// Its daemon is there, and has not answered in time.
    case hanging
    /// This user may not ask it, and can see no daemon.
    case unknown
  }

  /// What is mounted, as findmnt(8) shows it.
  package let source: String
  /// Where.
  package let mountPoint: FilePath
  /// The daemon's process; nil where it is gone, or cannot be seen.
  package let daemon: Int32?
  package let state: State

  /// All mounts of this program that this process sees, in the order in which they were made. Neither a dead nor a hanging one
  /// holds this up for more than ``MountProbe/patience``.
  package static func all() throws(Errno) -> [ServedMount] {
    let table = try MountTable()
    let processes = DaemonProcess.all()
    let mounts = table.entries.compactMap { entry -> (MountTable.Entry, DaemonProcess?)? in
      guard entry.type == "fuse" || entry.type.hasPrefix("fuse.") else { return nil }
      let daemon = DaemonProcess.serving(entry, among: processes)
      // A mount may have another subtype, and a process of this program serves nothing but its mounts.
      return entry.isOwnType || daemon?.devices.contains(entry.device) == true ? (entry, daemon) : nil
    }
    // What is covered cannot be asked by its path.
    let probes = mounts.map { entry, _ in
      table.topmost(at: entry.mountPoint) == entry ? probe(entry) : nil
    }
    let answers = MountProbe.answers(of: probes)
    return zip(mounts, answers).map { mount, answer in
      let (entry, daemon) = mount
      return ServedMount(
        source: entry.source, mountPoint: entry.mountPoint, daemon: answer == .dead ? nil : daemon?.id,
        state: state(answer, daemon))
    }
  }

  private static func probe(_ entry: MountTable.Entry) -> MountProbe? {
    guard let root = try? FileDescriptor.openPath(entry.mountPoint) else { return nil }
    defer { try? root.close() }
    return MountProbe(root, ownedBy: entry.owner)
  }

  private static func state(_ answer: MountProbe.Answer, _ daemon: DaemonProcess?) -> State {
    switch answer {
    case .alive: .alive
    case .dead: .dead
    case .late: .hanging
    case .refused: daemon.map { $0.isStopped ? .hanging : .alive } ?? .unknown
    }
  }
}

extension MountTable.Entry {
  /// True of a mount with this program's own subtype.
  var isOwnType: Bool { type == "fuse.stmount" }
}
