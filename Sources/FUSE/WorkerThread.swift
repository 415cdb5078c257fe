internal import Glibc

/// A thread that runs one closure: pthread_create(3).
///
/// Not a task: a worker blocks in read(2) for most of its life, which the cooperative pool is not made for.
@safe struct WorkerThread: @unchecked Sendable {
  private let thread: pthread_t

  /// Starts a thread, with the signal mask of the one that starts it; nil where there can be no more.
  init?(running body: @escaping @Sendable () -> Void) {
    let box = unsafe Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let result = unsafe pthread_create(
      &thread, nil,
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
  func join() { pthread_join(thread, nil) }

  /// Leaves the thread to itself: pthread_detach(3).
  func detach() { pthread_detach(thread) }

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
}
