import Fixtures
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import FUSE
@testable import Linux

/// A second worker on a thread of its own. It waits until it may receive.
private final class OtherWorker: Sendable {
  private let threadID = Atomic<Int32>(0)
  private let receives = Atomic<Bool>(false)
  private let thread = Mutex<WorkerThread?>(nil)

  /// Starts the worker. `body` runs while it receives.
  init(of receiver: Receiver, _ body: @escaping @Sendable () -> Void = {}) {
    let thread = WorkerThread { [self] in
      let line = TextFile.lines("/proc/thread-self/stat").first ?? ""
      threadID.store(Int32(line.prefix { $0 != " " }) ?? 0, ordering: .sequentiallyConsistent)
      receiver.wait()
      receives.store(true, ordering: .sequentiallyConsistent)
      body()
      receiver.release()
    }
    self.thread.withLock { $0 = thread }
  }

  /// True if the worker receives, and false if it sleeps: proc_pid_stat(5). Nothing else makes it sleep.
  var isReceiving: Bool {
    get throws {
      while true {
        if receives.load(ordering: .sequentiallyConsistent) { return true }
        let id = threadID.load(ordering: .sequentiallyConsistent)
        if id != 0 {
          let line = TextFile.lines(FilePath("/proc/self/task/\(id)/stat")).first ?? ""
          // The name is in parentheses and may contain anything. The state follows it.
          if line.split(separator: ") ").last?.first == "S",
            !receives.load(ordering: .sequentiallyConsistent)
          {
            return false
          }
        }
        sched_yield()
      }
    }
  }

  /// Waits until the worker has received and ended.
  func join() {
    thread.withLock { $0.take() }?.join()
    let received = receives.load(ordering: .sequentiallyConsistent)
    #expect(received)
  }
}

@Suite("Which workers receive") struct ReceiverTests {
  /// Polls without waiting.
  private let receiver = Receiver(polling: Polling(isPossible: false))

  /// Answers one request. True if the worker still receives alone afterwards.
  private func answer(anotherWaits: Bool = false, nextIsFound: Bool = true) -> Bool {
    receiver.wait()
    receiver.begin { anotherWaits }
    receiver.poll { nextIsFound }
    return receiver.isHeld
  }

  @Test("One worker receives alone while polling finds the next request, and the others sleep")
  func alone() throws {
    for _ in 0..<10 { #expect(answer()) }
    let other = OtherWorker(of: receiver)
    #expect(try !other.isReceiving)
    receiver.release()
    other.join()
  }

  @Test("A worker that passes on lets others receive before it has answered")
  func passedOn() throws {
    receiver.wait()
    receiver.begin { false }
    let other = OtherWorker(of: receiver)
    #expect(try !other.isReceiving)
    receiver.passOn()
    other.join()
    #expect(!receiver.isHeld)
  }

  @Test("Only the worker that receives alone passes on")
  func others() throws {
    receiver.wait()
    let thread = WorkerThread { [receiver] in
      #expect(!receiver.isHeld)
      receiver.passOn()
      receiver.release()
      receiver.poll { false }
    }
    thread?.join()
    #expect(receiver.isHeld)
    receiver.release()
  }

  @Test("A request that waits behind the one received lets others receive")
  func overlap() throws {
    receiver.wait()
    receiver.begin { true }
    #expect(!receiver.isHeld)
    let other = OtherWorker(of: receiver)
    other.join()
  }

  @Test("After an unsuccessful poll all workers receive: 4 requests, then 8, then 12")
  func backOff() {
    for requests in [4, 8, 12] {
      #expect(!answer(nextIsFound: false))
      for _ in 0..<requests { #expect(!answer()) }
    }
    #expect(answer())
    receiver.release()
  }

  @Test("If another thread has kept the processor for 4 ms, all workers receive for 256 ms")
  func busyMachine() {
    let clock = ManualClock()
    let polling = Polling(now: { clock.now }, yield: { clock.now += 4_000_000 }, isPossible: true)
    let receiver = Receiver(polling: polling)
    func answer(nextIsFound: Bool) -> Bool {
      receiver.wait()
      receiver.begin { false }
      receiver.poll { nextIsFound }
      return receiver.isHeld
    }
    #expect(!answer(nextIsFound: false))
    for _ in 0..<1000 { #expect(!answer(nextIsFound: true)) }
    clock.now += 255_999_999
    #expect(!answer(nextIsFound: true))
    clock.now += 1
    #expect(answer(nextIsFound: true))
    receiver.release()
  }

  @Test("A worker does not poll while another one is still receiving, since that one gets the request")
  func notAlone() {
    receiver.wait()
    // A worker that was allowed to receive may receive again later.
    let received = receiver.receive {
      receiver.begin { false }
      receiver.poll {
        Issue.record("it polls")
        return false
      }
      return 1
    }
    #expect(received == 1)
    #expect(receiver.isHeld)
    receiver.release()
  }

  @Test("While all workers receive, one that had to wait for the others lets the next in")
  func recruits() throws {
    receiver.wait()
    // Both other workers wait. Each lets the next one receive after it has received.
    let others = (0..<2).map { _ in
      OtherWorker(of: receiver) { [receiver] in receiver.begin { false } }
    }
    for other in others { #expect(try !other.isReceiving) }
    receiver.passOn()
    for other in others { other.join() }
    #expect(!receiver.isHeld)
  }
}
