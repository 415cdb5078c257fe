internal import FUSE
internal import Logging
internal import Models
internal import Safetensors
internal import Synchronization
internal import SystemPackage

/// Handles sources that change or fail: logs one line for each, and drops the cached pages of changed ones.
final class SourceFaults: Sendable {
  /// Calls a function with each of some inodes.
  typealias Inodes = @Sendable ((InodeNumber) -> Void) -> Void

  /// Lists a file system's inodes with contents from a source.
  typealias Contents = @Sendable (SourceFile, (InodeNumber) -> Void) -> Void

  private let log: Logger
  /// The changed sources, and whether their cached pages were dropped.
  private let changed = Mutex<[ObjectIdentifier: Bool]>([:])
  private let unreadable = Mutex<Set<ObjectIdentifier>>([])
  /// The tensors with unusable scales that were logged; an empty name stands for whole models.
  private let doubtful = Mutex<Set<TensorName>>([])
  private let contents = Mutex<[Contents]>([])
  private let drop = Mutex<(@Sendable (@escaping Inodes) -> Bool)?>(nil)

  init(log: Logger) { self.log = log }

  /// Registers a file system's function that lists the inodes of a source.
  func add(_ contents: @escaping Contents) { self.contents.withLock { $0.append(contents) } }

  /// Sets the function that drops cached pages, see DequantizingFileSystem.whenSourceChanges.
  func whenSourceChanges(_ drop: @escaping @Sendable (@escaping Inodes) -> Bool) {
    self.drop.withLock { $0 = drop }
  }

  /// Handles a changed source.
  func notice(_ change: SourceFile.Change, of file: SourceFile) {
    // Marked as dropped in advance, so that only one of several concurrent readers does it.
    let isDropped = changed.withLock { $0.updateValue(true, forKey: ObjectIdentifier(file)) }
    if isDropped == true { return }
    let contents = contents.withLock { $0 }
    // Replies sent during the change may have put new bytes into cached pages, so all of them go. Logging
    // comes afterwards, since it may block; from here on another worker receives.
    if let drop = drop.withLock({ $0 }), !drop({ body in for inodes in contents { inodes(file, body) } }) {
      changed.withLock { $0[ObjectIdentifier(file)] = false }
    }
    if isDropped != nil { return }
    let finding =
      switch change {
      case .contents: "has changed since it was mounted"
      case .unknown:
        "may have changed since it was mounted (its ctime differs, and inotify lost events)"
      }
    log.error("\(file.path.printable) \(finding); reads of its tensors fail; unmount it and mount it again")
  }

  /// The maximum number of tensors with unusable scales that are logged.
  private static let namedTensors = 10

  /// Logs an unusable scale that a read found in a tensor, or in a whole model.
  func noticeScale(of tensor: TensorName?, in file: SourceFile) {
    let isNew = doubtful.withLock { names in
      names.count < Self.namedTensors && names.insert(tensor ?? TensorName(utf8: [])).inserted
    }
    guard isNew else { return }
    let name = tensor.map { "tensor \($0)" } ?? "a tensor of the whole model"
    log.error(
      "\(file.path.printable): \(name): \(ScaleCheck.reason(of: ScaleCheck.failure)); reads of it fail with EIO"
    )
  }

  /// Logs the first read error of a source. It is unknown whether the contents changed, so each read tries
  /// again.
  func noticeFailure(_ error: Errno, of file: SourceFile) {
    guard unreadable.withLock({ $0.insert(ObjectIdentifier(file)).inserted }) else { return }
    log.error(
      "\(file.path.printable) cannot be read: \(error); reads will be retried; further errors are not logged")
  }
}
