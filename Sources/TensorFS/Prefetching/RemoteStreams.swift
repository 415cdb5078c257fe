internal import Linux
internal import Synchronization
internal import SystemPackage

/// The streams of those who read from one store of which every request takes long. They share what may be on its way from there.
final class RemoteStreams: Sendable {
  private let store: RemoteStore
  private let streams = Mutex(Streams())

  init(of store: RemoteStore) { self.store = store }

  /// As ``ReadAhead/noteRead(_:of:in:size:)``.
  func noteRead(_ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64) {
    let largest = store.window
    let ahead = streams.withLock { streams in
      let window = Window.remote(largest: largest / UInt64(max(1, streams.active)))
      return streams.next(range, of: tensor, in: file.rawValue, size: size, window)
    }
    // What the reader waits for goes first, since FUSE has a few requests at a time under way, in their order.
    if !ahead.isEmpty, ahead.lowerBound == range.upperBound {
      // To a round offset, so that the next read needs no more of its last page.
      let end = min((range.upperBound >> 17 + 1) << 17, ahead.upperBound)
      store.fetch(range.lowerBound..<end, of: file)
    }
    store.fetch(ahead, of: file)
  }
}
