internal import CFuse
internal import CLinux
internal import Glibc
internal import Linux

/// One of the threads that answer a session's requests.
@safe struct Worker {
  private let session: OpaquePointer
  /// Nil where every worker receives for itself.
  private let turn: Turn?

  private var watch = Watch()
  /// False where there is one processor, and nobody could send a request while it is waited for.
  private let canWatch = stmount_processor_count() > 1

  /// From so many bytes on a read is part of a stream: what the kernel reads ahead, unless told otherwise. Longer ones are
  /// sent several at a time.
  private static let streamSize = 128 << 10
  private var isPatient = false
  /// False where someone has chosen how this process gets its processor, with chrt(1) or CPUSchedulingPolicy= of systemd.
  private let mayBePatient = stmount_has_usual_scheduling() != 0

  init(of session: OpaquePointer, turn: Turn?) {
    unsafe self.session = session
    self.turn = turn
  }

  /// Receives and answers requests until the session ends: fuse_session_receive_buf.
  mutating func run() {
    var request = unsafe fuse_buf()
    defer {
      turn?.passOn()
      unsafe free(request.mem)
    }
    while true {
      turn?.take()
      // Perhaps while this one waited.
      guard unsafe fuse_session_exited(session) == 0 else { return }
      let received = unsafe fuse_session_receive_buf(session, &request)
      if received == -EINTR { continue }
      // The end, or no memory for libfuse's buffer: what this one had is of more use to the others.
      if received <= 0 { return }
      watch.receive(at: Self.now)
      let size = unsafe Int(stmount_read_size(&request))
      if let turn {
        turn.begin(
          from: unsafe stmount_sender(&request),
          needsHelp: size > Self.streamSize || turn.isMine && isRequestWaiting)
      }
      unsafe fuse_session_process_buf(session, &request)
      turn?.end()
      expect(isStream: size >= Self.streamSize)
      if canWatch, let turn, turn.isMine { watchForRequest() }
    }
  }

  /// True if a request can be received at once: poll(2).
  private var isRequestWaiting: Bool {
    var device = unsafe pollfd(fd: fuse_session_fd(session), events: Int16(POLLIN), revents: 0)
    return unsafe poll(&device, 1, 0) != 0
  }

  /// Waits for the next request without sleeping, where that is worthwhile: sched_yield(2).
  private mutating func watchForRequest() {
    let answered = Self.now
    watch.answer(at: answered)
    guard watch.isWorthwhile else { return }
    var time = answered
    while !isRequestWaiting, time < answered + Watch.limit {
      let isYielding = watch.yields
      if isYielding { sched_yield() }
      let looked = time
      time = Self.now
      if isYielding { watch.yield(for: time - looked) }
    }
  }

  /// Nanoseconds: clock_gettime(2).
  private static var now: Int {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// Prepares for a request like the one that was answered last. One system call where that is of another kind than the one
  /// before it.
  ///
  /// A stream's reader sends the request for what it will need next while it still has something to copy. Where no processor
  /// is free, the kernel gives its own to the worker at once, and the two take turns in place of working side by side; a
  /// worker under SCHED_BATCH waits until one is free (sched(7)). Whoever waits for a small read is asleep by then, and on a
  /// busy machine would wait longer.
  private mutating func expect(isStream: Bool) {
    guard mayBePatient, isStream != isPatient else { return }
    isPatient = isStream
    stmount_set_preempts(isStream ? 0 : 1)
  }
}
