internal import Linux
internal import Models
internal import Synchronization
package import SystemPackage

/// Prefetches what a sequential reader will need next, by threads of its own.
package final class ReadAhead: Sendable {
  private let streams = Mutex(Streams())
  private let fetcher = PageFetcher()
  /// The stores of those files whose every request takes long, by descriptor.
  private let stores: [CInt: RemoteStore]

  /// How many open file descriptions there are besides one for each file, and the most for one file.
  private static let (mostDescriptions, mostOfFile) = (64, 8)

  /// Knows of no stream yet. Files on one network file system share what may be on its way from there. Of few such files each is
  /// opened several times more.
  init(_ files: [SourceFile] = []) {
    var stores: [CInt: RemoteStore] = [:]
    var byDevice: [DeviceID: RemoteStore] = [:]
    for file in files {
      guard let requestSize = file.requestSize else { continue }
      let device = file.status.deviceID
      let store = byDevice[device] ?? RemoteStore(requestSize: requestSize)
      byDevice[device] = store
      stores[file.descriptor.rawValue] = store
    }
    self.stores = stores
    let numbers = Array(stores.keys)
    let all = (0..<min(Self.mostOfFile, Self.mostDescriptions / max(1, numbers.count))).flatMap { _ in numbers
    }
    _ = try? ParallelWork.run(all.count, width: all.count) { [stores] index in
      if let file = RemoteFiles.reopen(FileDescriptor(rawValue: all[index])) {
        stores[all[index]]?.add(file, of: all[index])
      }
    }
  }

  /// Records a read, and prefetches what follows if the access is sequential.
  ///
  /// Both ranges are bytes of the file, which has `size`. `tensor` contains `range`, and a reader is expected to stay in it.
  package func noteRead(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64
  ) {
    if let store = stores[file.rawValue] {
      store.noteRead(range, of: tensor, in: file, size: size)
      return
    }
    let ahead = streams.withLock { $0.next(range, of: tensor, in: file.rawValue, size: size) }
    if ahead.isEmpty { return }
    // The kernel's own read-ahead is in front of this one, and goes on only where somebody reads what it has read.
    let far = ahead.lowerBound..<max(ahead.upperBound, min(ahead.upperBound + Window.disk.largest, size))
    if CachedPages.hold(far, of: file) != true { fetcher.fetch(ahead, of: file) }
  }
}
