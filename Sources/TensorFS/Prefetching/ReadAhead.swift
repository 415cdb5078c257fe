internal import FUSE
internal import Linux
internal import Models
internal import Synchronization
package import SystemPackage

/// Prefetches what sequential readers will need next, on threads of its own.
package final class ReadAhead: Sendable {
  private let streams = Mutex(Streams())
  private let fetcher = PageFetcher()
  /// The streams in files with slow requests, by descriptor.
  private let remotes: [CInt: RemoteStreams]

  /// The maximum number of open file descriptions for each remote file, and for all remote files if each has
  /// several. rclone asks for nothing when it opens a file.
  private static let (mostOfFile, mostOfRclone, most) = (8, 16, 64)

  /// Begins without streams. Files on the same network file system share a store. If `isDirect`, it reads
  /// past the page cache. If there are few files, opens each several times for that.
  init(_ files: [SourceFile] = [], isDirect: Bool = true) {
    let remoteFiles = files.filter { $0.requestSize != nil }
    let mounts = remoteFiles.isEmpty ? nil : try? MountTable()
    func isRclone(_ file: SourceFile) -> Bool {
      let number = RemoteFiles.text(file.status.deviceID)
      return mounts?.entries.last { $0.device == number }?.type == "fuse.rclone"
    }
    // The closure does not throw.
    let all = remoteFiles.flatMap { file in
      let most = isRclone(file) ? Self.mostOfRclone : Self.mostOfFile
      return Array(repeating: file.descriptor, count: max(1, min(most, Self.most / remoteFiles.count)) - 1)
    }
    let opened = try? ParallelWork.map(all, width: Self.most) { RemoteFiles.reopen($0) }
    // The model's own descriptors. From now on, only the store reads with them.
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
      // rclone has a download for each open file, and without `--vfs-cache-mode full` a new one for each read elsewhere.
      let store = RemoteStore(known, inSequence: files.first.map(isRclone) == true)
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
  /// Both ranges are in the file, which has `size` bytes. `tensor` contains `range`; the reader probably
  /// stays in it.
  package func noteRead(
    _ range: Range<UInt64>, of tensor: Range<UInt64>, in file: FileDescriptor, size: UInt64
  ) {
    if let remote = remotes[file.rawValue] {
      remote.noteRead(range, of: tensor, in: file, size: size)
      return
    }
    let ahead = streams.withLock { $0.next(range, of: tensor, in: file.rawValue, size: size) }
    if ahead.isEmpty { return }
    // The kernel's own read-ahead is ahead of this one, but only continues if somebody reads what it fetched.
    let far = ahead.lowerBound..<max(ahead.upperBound, min(ahead.upperBound + Window.disk.largest, size))
    if CachedPages.hold(far, of: file) != true { fetcher.fetch(ahead, of: file) }
  }
}
