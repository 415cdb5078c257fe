internal import CFuse
internal import Synchronization

/// The shared state of a session's callbacks: libfuse's userdata, which each request leads to.
final class SessionContext: Sendable {
  let fileSystem: any FileSystem
  let options: MountOptions
  /// True if the kernel takes ENOSYS for open as "never ask again": then opening and closing a file costs no
  /// request at all (FUSE_CAP_NO_OPEN_SUPPORT). The same for directories.
  let needsNoOpen = Atomic<Bool>(false)
  let needsNoOpendir = Atomic<Bool>(false)
  let counters = RequestCounters()
  let requestsUnderWay = RequestsUnderWay()
  let buffers = ReplyBuffers()
  /// Which of the workers receives.
  let receiver = Receiver()
  let crew = Crew()
  private let features = Atomic<UInt>(0)
  private let dropper = Mutex<(@Sendable (InodeNumber) -> Void)?>(nil)

  /// Calls `drop` to make the kernel drop the contents of a file that somebody tried to write to.
  func whenWritten(_ drop: @escaping @Sendable (InodeNumber) -> Void) { dropper.withLock { $0 = drop } }

  /// Call before a read that may block: lets other workers receive, and starts one if all are busy.
  func prepareToWait() {
    receiver.passOn()
    crew.grow()
  }

  /// Drops the kernel's cached pages of a file.
  func drop(_ inode: InodeNumber) { dropper.withLock { $0 }?(inode) }

  /// The features that the kernel has offered at the start.
  var kernelFeatures: KernelFeatures {
    get { KernelFeatures(rawValue: features.load(ordering: .relaxed)) }
    set { features.store(newValue.rawValue, ordering: .relaxed) }
  }

  init(fileSystem: any FileSystem, options: MountOptions) {
    self.fileSystem = fileSystem
    self.options = options
  }

  /// The context of a request: fuse_req_userdata.
  static func of(_ request: fuse_req_t) -> SessionContext? {
    unsafe fuse_req_userdata(request).map {
      unsafe Unmanaged<SessionContext>.fromOpaque($0).takeUnretainedValue()
    }
  }
}
