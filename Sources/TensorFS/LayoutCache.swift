internal import Synchronization
internal import TensorFiles

/// Caches the layouts of recently read files, so that a header is not made again for each request.
final class LayoutCache: Sendable {
  /// The maximum number of layouts. Programs rarely read more files at a time, and a layout can have a long
  /// header.
  private static let most = 16

  /// The most recently used layout is last.
  private let recent = Mutex<[(inode: UInt64, layout: FileLayout)]>([])
  /// Whole models, by inode; nil for a model that readers would not accept. They are kept, since making one
  /// takes time. They have their own lock, which is held meanwhile, so that reads of other files do not wait.
  private let models = Mutex<[UInt64: FileLayout?]>([:])

  /// The cached layout of a file; calls `make` if there is none.
  func layout(of inode: UInt64, orMade make: () -> FileLayout?) -> FileLayout? {
    let kept = recent.withLock { recent -> FileLayout? in
      guard let index = recent.lastIndex(where: { $0.inode == inode }) else { return nil }
      let entry = recent.remove(at: index)
      recent.append(entry)
      return entry.layout
    }
    if let kept { return kept }
    guard let layout = make() else { return nil }
    recent.withLock { recent in
      if recent.count == Self.most { recent.removeFirst() }
      recent.append((inode, layout))
    }
    return layout
  }

  /// The layout of a whole model; calls `make` only once.
  func model(_ inode: UInt64, orMade make: () -> FileLayout?) -> FileLayout? {
    models.withLock { models in
      if let kept = models[inode] { return kept }
      let layout = make()
      models[inode] = .some(layout)
      return layout
    }
  }
}
