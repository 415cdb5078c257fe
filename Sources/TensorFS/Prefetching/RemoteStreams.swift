internal import Linux
internal import Synchronization
internal import SystemPackage

/// The sequential streams in one remote store's files. They share the store's window.
final class RemoteStreams: Sendable {
  private let store: RemoteStore
  private let streams = Mutex(Streams())

  init(of store: RemoteStore) { self.store = store }

  /// See ``ReadAhead/noteRead(_:of:in:size:)``.
  func noteRead(_ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64) {
    let largest = store.window
    let (ahead, start) = streams.withLock { streams in
      let window = Window.remote(largest: largest / UInt64(max(1, streams.active)), growth: store.growth)
      let ahead = streams.next(range, of: tensor, in: file.rawValue, size: size, window)
      return (ahead, streams.latestStart)
    }
    // Requests what the reader waits for first: FUSE has few requests in flight, and keeps their order.
    if !ahead.isEmpty, ahead.lowerBound == range.upperBound {
      // Ends at a round offset, so that the next read needs no other part of the last page.
      let end = min((range.upperBound >> 17 + 1) << 17, ahead.upperBound)
      store.fetch(range.lowerBound..<end, of: file, from: start)
    }
    store.fetch(ahead, of: file, from: start)
  }
}
