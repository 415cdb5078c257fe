internal import Synchronization
internal import TensorFiles

/// The layouts of files that were read last, so that a header is not made anew for each request.
final class LayoutCache: Sendable {
  /// How many are kept. More files than this are rarely read at one time, and a layout can hold a long header.
  private static let most = 16

  private struct State {
    /// The one that was used last is the last.
    var recent: [(inode: UInt64, layout: FileLayout)] = []
    /// Whole models, by inode; nil where there can be none. Each is kept, since it takes its time to make.
    var models: [UInt64: FileLayout?] = [:]
  }
  private let state = Mutex(State())

  /// The layout of a file, made if it is not here.
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
