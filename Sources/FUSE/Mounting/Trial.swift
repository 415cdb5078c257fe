internal import Glibc
internal import Linux
internal import Synchronization
internal import SystemPackage

/// A trial mount of an empty file system: it shows whether mounting works on this machine, and the features of the kernel.
package struct Trial: Sendable {
  /// The features of the kernel.
  package let features: KernelFeatures
  /// The kernel's read-ahead on a mount in KiB, after raising it; nil if it is not in sysfs.
  package let readAheadKiB: Int?
  /// The command that raises the read-ahead; nil if it is high enough.
  package let readAheadRemedy: String?

  /// Mounts an empty file system on a directory of its own, and unmounts it. No thread may have been started.
  package init() throws(MountError) {
    // Before the directory exists, which a signal would leave behind.
    Signals.block()
    let directory = try Self.makeDirectory()
    defer { _ = unsafe directory.withPlatformString { unsafe rmdir($0) } }
    var options = MountOptions()
    options.source = "stmount-trial"
    let session = try Session(fileSystem: EmptyFileSystem(), options: options)
    try session.mount(at: MountPoint(checking: directory, shownAs: "\(directory)"))
    let found = Mutex<(remedy: String?, size: Int?)>((nil, nil))
    try session.run {
      let remedy = session.raiseKernelReadAhead()
      let size = session.kernelReadAheadKiB
      found.withLock { $0 = (remedy, size) }
      session.detach()
    }
    features = session.kernelFeatures
    (readAheadRemedy, readAheadKiB) = found.withLock { $0 }
  }

  private static func makeDirectory() throws(MountError) -> FilePath {
    var template = Array("/tmp/stmount-trial.XXXXXX".utf8CString)
    let made = unsafe template.withUnsafeMutableBufferPointer { buffer in
      unsafe buffer.baseAddress.flatMap { unsafe mkdtemp($0) }.map { unsafe FilePath(platformString: $0) }
    }
    guard let made else {
      throw MountError(
        .system, "cannot make a directory in /tmp to try a mount on: \(Errno(rawValue: errno))")
    }
    return made
  }
}

/// An empty root directory.
struct EmptyFileSystem: FileSystem {
  func lookup(_ name: Span<UInt8>, in directory: InodeNumber) throws(Errno) -> Attributes? { nil }

  func attributes(of inode: InodeNumber) throws(Errno) -> Attributes {
    let start = Attributes.Time(seconds: 0, nanoseconds: 0)
    return Attributes(
      inode: .root, kind: .directory, permissions: 0o555, linkCount: 2, size: 0, owner: geteuid(),
      group: getegid(),
      accessTime: start, modificationTime: start, changeTime: start)
  }

  func list(_ directory: InodeNumber, from position: UInt64, into buffer: inout DirectoryBuffer) throws(Errno)
  {}

  func read(_ file: InodeNumber, at offset: UInt64, count: Int) throws(Errno) -> ReadAnswer {
    throw .isDirectory
  }

  func statistics() -> Statistics { Statistics(size: 0, inodes: 1) }
}
