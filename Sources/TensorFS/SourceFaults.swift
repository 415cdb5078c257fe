internal import FUSE
internal import Logging
internal import Models
internal import Safetensors
internal import Synchronization
internal import SystemPackage

/// Handles sources that change or cannot be read: one line in the log for each, and the cached pages of a changed one are
/// dropped.
final class SourceFaults: Sendable {
  /// Calls a function for each of some inodes.
  typealias Inodes = @Sendable ((InodeNumber) -> Void) -> Void

  /// Lists the inodes of one file system whose contents come from a source.
  typealias Contents = @Sendable (SourceFile, (InodeNumber) -> Void) -> Void

  private let log: Logger
  /// The changed sources, and whether their pages are dropped.
  private let changed = Mutex<[ObjectIdentifier: Bool]>([:])
  private let unreadable = Mutex<Set<ObjectIdentifier>>([])
  /// The tensors whose scales the log has complained about; the empty name for whole models.
  private let doubtful = Mutex<Set<TensorName>>([])
  private let contents = Mutex<[Contents]>([])
  private let drop = Mutex<(@Sendable (@escaping Inodes) -> Bool)?>(nil)

  init(log: Logger) { self.log = log }

  /// Registers a file system, which lists its inodes for a changed source.
  func add(_ contents: @escaping Contents) { self.contents.withLock { $0.append(contents) } }

  /// Calls `drop`, for each source that changes, with the inodes whose contents come from it; at each read, until it returns true.
  func whenSourceChanges(_ drop: @escaping @Sendable (@escaping Inodes) -> Bool) {
    self.drop.withLock { $0 = drop }
  }

  /// A source has changed.
  func notice(_ change: SourceFile.Change, of file: SourceFile) {
    // Marked as dropped at once, so that only one of several readers does it.
    let isDropped = changed.withLock { $0.updateValue(true, forKey: ObjectIdentifier(file)) }
    if isDropped == true { return }
    let contents = contents.withLock { $0 }
    // Pages of replies during the change must not stay, and it is unknown which ones these are. Drop them before logging,
    // which may have to wait for the log's reader: from here on another worker receives.
    if let drop = drop.withLock({ $0 }), !drop({ body in for inodes in contents { inodes(file, body) } }) {
      changed.withLock { $0[ObjectIdentifier(file)] = false }
    }
    if isDropped != nil { return }
    let finding =
      switch change {
      case .contents: "has changed since it was mounted"
      case .unknown:
        "may have changed since it was mounted (its change time has, and events of inotify were lost)"
      }
    log.error("\(file.path.printable) \(finding); reading its tensors fails until it is mounted anew")
  }

  /// How many tensors with unusable scales the log names.
  private static let namedTensors = 10

  /// A read has found a scale that no writer computes, in a tensor or in a whole model.
  func noticeScale(of tensor: TensorName?, in file: SourceFile) {
    let isNew = doubtful.withLock { names in
      names.count < Self.namedTensors && names.insert(tensor ?? TensorName(utf8: [])).inserted
    }
    guard isNew else { return }
    let name = tensor.map { "tensor \($0)" } ?? "a tensor of the whole model"
    log.error(
      "\(file.path.printable): \(name): \(ScaleCheck.reason(of: ScaleCheck.failure)); reading those fails with EIO"
    )
  }

  /// The disk or file system of a source failed. Whether its contents changed is unknown, so each read tries again.
  func noticeFailure(_ error: Errno, of file: SourceFile) {
    guard unreadable.withLock({ $0.insert(ObjectIdentifier(file)).inserted }) else { return }
    log.error(
      "\(file.path.printable) cannot be read: \(error); reads will be retried; further errors are not logged")
  }
}
