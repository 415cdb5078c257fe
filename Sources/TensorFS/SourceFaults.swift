internal import FUSE
internal import Linux
internal import Logging
internal import Models
internal import Safetensors
internal import Synchronization
internal import SystemPackage
internal import TensorFiles

/// What is done about sources that change or cannot be read: one line in the log for each, and what the kernel keeps of a
/// changed one is dropped.
final class SourceFaults: Sendable {
  /// Calls what it is given for each of some inodes.
  typealias Inodes = @Sendable ((InodeNumber) -> Void) -> Void

  /// Names the inodes whose contents come from a source, of one file system.
  typealias Contents = @Sendable (SourceFile, (InodeNumber) -> Void) -> Void

  private let log: Logger
  private let changed = Mutex<Set<ObjectIdentifier>>([])
  private let unreadable = Mutex<Set<ObjectIdentifier>>([])
  private let contents = Mutex<[Contents]>([])
  private let drop = Mutex<(@Sendable (@escaping Inodes) -> Void)?>(nil)

  init(log: Logger) { self.log = log }

  /// Has a file system asked which of its inodes come from a source that changes.
  func add(_ contents: @escaping Contents) { self.contents.withLock { $0.append(contents) } }

  /// Calls `drop`, once for each source that changes, with the inodes whose contents come from it.
  func whenSourceChanges(_ drop: @escaping @Sendable (@escaping Inodes) -> Void) {
    self.drop.withLock { $0 = drop }
  }

  /// A source is not what was mounted any more.
  func notice(_ change: SourceFile.Change, of file: SourceFile) {
    guard changed.withLock({ $0.insert(ObjectIdentifier(file)).inserted }) else { return }
    let contents = contents.withLock { $0 }
    // What a reply has brought there while the file changed is not to stay, and nobody can tell what that was. Before the
    // log, which may have to wait for whoever reads it: from here on another worker receives.
    drop.withLock { $0 }?({ body in for inodes in contents { inodes(file, body) } })
    let finding =
      switch change {
      case .contents: "has changed since it was mounted"
      case .unknown:
        "may have changed since it was mounted (its change time has, and events of inotify were lost)"
      }
    log.error("\(file.path.printable) \(finding); reading its tensors fails until it is mounted anew")
  }

  /// What holds a source failed; whether its contents are the old ones is not known, and reads go on trying.
  func noticeFailure(_ error: Errno, of file: SourceFile) {
    guard unreadable.withLock({ $0.insert(ObjectIdentifier(file)).inserted }) else { return }
    log.error("\(file.path.printable) cannot be read: \(error); this is said once, reads go on trying")
  }
}
