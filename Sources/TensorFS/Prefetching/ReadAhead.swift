internal import Linux
internal import Models
internal import Synchronization
package import SystemPackage

/// Prefetches what a sequential reader will need next, by threads of its own.
package final class ReadAhead: Sendable {
  private let streams = Mutex(Streams())
  private let fetcher = PageFetcher()
  /// The streams in those files whose every request takes long, by descriptor.
  private let remotes: [CInt: RemoteStreams]

  /// How many open file descriptions each of a few files on a network has, and how many there are of all files if each has more
  /// than one.
  private static let (mostOfFile, most) = (8, 64)

  /// Knows of no stream yet. Files on one network file system are read by one store, if `isDirect` past the page cache; if
  /// there are few, each is opened several times for that.
  init(_ files: [SourceFile] = [], isDirect: Bool = true) {
    let remoteFiles = files.filter { $0.requestSize != nil }
    let times = max(1, min(Self.mostOfFile, Self.most / max(1, remoteFiles.count)))
    // Nothing is thrown.
    let all = remoteFiles.flatMap { Array(repeating: $0.descriptor, count: times - 1) }
    let opened = try? ParallelWork.map(all, width: Self.most) { RemoteFiles.reopen($0) }
    // The model's own descriptors: nothing else reads by them from now on.
    var descriptions = Dictionary(grouping: remoteFiles.map(\.descriptor), by: \.rawValue)
      .mapValues { $0.compactMap { OwnedFile(duplicating: $0) } }
    for (file, description) in zip(all, opened ?? []) {
      if let description { descriptions[file.rawValue, default: []].append(description) }
    }
    var remotes: [CInt: RemoteStreams] = [:]
    for (_, files) in Dictionary(grouping: remoteFiles, by: \.status.deviceID) {
      var known: [CInt: RemoteFile] = [:]
      for file in files {
        let number = file.descriptor.rawValue
        known[number] = RemoteFile(descriptions[number] ?? [], size: file.size, isDirect: isDirect)
      }
      let store = RemoteStore(known)
      let streams = RemoteStreams(of: store)
      for file in files where known[file.descriptor.rawValue] != nil {
        file.read(by: store)
        remotes[file.descriptor.rawValue] = streams
      }
    }
    self.remotes = remotes
  }

  /// Records a read, and prefetches what follows if the access is sequential.
  ///
  /// Both ranges are bytes of the file, which has `size`. `tensor` contains `range`, and a reader is expected to stay in it.
  package func noteRead(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64
  ) {
    if let remote = remotes[file.rawValue] {
      remote.noteRead(range, of: tensor, in: file, size: size)
      return
    }
    let ahead = streams.withLock { $0.next(range, of: tensor, in: file.rawValue, size: size) }
    if ahead.isEmpty { return }
    // The kernel's own read-ahead is in front of this one, and goes on only where somebody reads what it has read.
    let far = ahead.lowerBound..<max(ahead.upperBound, min(ahead.upperBound + Window.disk.largest, size))
    if CachedPages.hold(far, of: file) != true { fetcher.fetch(ahead, of: file) }
  }
}
