internal import Synchronization
internal import TensorFiles

/// The layouts of recently read files, so that a header is not made again for each request.
final class LayoutCache: Sendable {
  /// The maximum number of layouts. More files are rarely read at one time, and a layout can have a long header.
  private static let most = 16

  private struct State {
    /// The most recently used layout is the last.
    var recent: [(inode: UInt64, layout: FileLayout)] = []
    /// Whole models, by inode; nil if readers would not accept one. They are kept, since making one takes time.
    var models: [UInt64: FileLayout?] = [:]
  }
  private let state = Mutex(State())

  /// The layout of a file, made if it is not cached.
  func layout(of inode: UInt64, orMade make: () -> FileLayout?) -> FileLayout? {
    let kept = state.withLock { state -> FileLayout? in
      guard let index = state.recent.lastIndex(where: { $0.inode == inode }) else { return nil }
      let entry = state.recent.remove(at: index)
      state.recent.append(entry)
      return entry.layout
    }
    if let kept { return kept }
    guard let layout = make() else { return nil }
    state.withLock { state in
      if state.recent.count == Self.most { state.recent.removeFirst() }
      state.recent.append((inode, layout))
    }
    return layout
  }

  /// The layout of a whole model, made once.
  func model(_ inode: UInt64, orMade make: () -> FileLayout?) -> FileLayout? {
    state.withLock { state in
      if let kept = state.models[inode] { return kept }
      let layout = make()
      state.models[inode] = .some(layout)
      return layout
    }
  }
}
