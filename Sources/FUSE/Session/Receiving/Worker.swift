internal import CFuse
internal import Glibc

/// One of the threads that answer a session's requests.
@safe struct Worker {
  private let session: OpaquePointer
  private let receiver: Receiver
  private let crew: Crew

  init(of session: OpaquePointer, receiver: Receiver, crew: Crew) {
    unsafe self.session = session
    self.receiver = receiver
    self.crew = crew
  }

  /// Receives and answers requests until the session ends: fuse_session_receive_buf. An additional
  /// worker also ends when there are enough.
  func run(isExtra: Bool = false) {
    var request = unsafe fuse_buf()
    defer {
      receiver.release()
      unsafe free(request.mem)
      crew.leave()
    }
    while true {
      receiver.wait()
      // Perhaps while this one waited.
      guard unsafe fuse_session_exited(session) == 0 else { return }
      let received = receiver.receive { unsafe fuse_session_receive_buf(session, &request) }
      if received == -EINTR { continue }
      // The end, or no memory for libfuse's buffer. Then this worker ends, and its memory is free for the others.
      if received <= 0 { return }
      receiver.begin { isRequestWaiting }
      crew.begin()
      unsafe fuse_session_process_buf(session, &request)
      crew.end()
      if isExtra, crew.isTooLarge { return }
      receiver.poll { isRequestWaiting }
    }
  }

  /// True if a request can be received at once: poll(2).
  private var isRequestWaiting: Bool {
    var device = unsafe pollfd(fd: fuse_session_fd(session), events: Int16(POLLIN), revents: 0)
    return unsafe poll(&device, 1, 0) != 0
  }
}
