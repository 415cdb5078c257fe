internal import CLinux
internal import Glibc

/// A thread that runs one closure: pthread_create(3).
///
/// Not a task: a worker blocks in read(2) most of the time, and tasks must not block the cooperative pool.
@safe package struct WorkerThread: @unchecked Sendable {
  private let thread: pthread_t

  /// Starts a thread, with the signal mask of the calling thread; nil if the system allows no more threads.
  ///
  /// `stackSize` is in bytes. Nil means the size of a process's first thread, usually eight MiB. That is only address space,
  /// which can be limited too (ulimit -v).
  package init?(stackSize: Int? = nil, running body: @escaping @Sendable () -> Void) {
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    if let stackSize { unsafe pthread_attr_setstacksize(&attributes, stackSize) }
    let box = unsafe Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let result = unsafe pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument = unsafe argument else { return nil }
        unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
        return nil
      }, box.toOpaque())
    guard result == 0 else {
      unsafe box.release()
      return nil
    }
    self.thread = thread
  }

  /// Waits until the closure has returned: pthread_join(3). At most once.
  package func join() { pthread_join(thread, nil) }

  /// Detaches the thread: pthread_detach(3).
  package func detach() { pthread_detach(thread) }

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
}
