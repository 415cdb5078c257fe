import Glibc
import Synchronization
import Testing

@testable import Linux

@Suite("Transient threads") struct TransientThreadsTests {
  /// The counters of jobs.
  private final class Counts: Sendable {
    let done = Atomic(0), running = Atomic(0), most = Atomic(0)
    let isOpen = Atomic(false)

    /// A job that waits until the test lets it end.
    func job() {
      most.max(
        running.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue, ordering: .sequentiallyConsistent)
      while !isOpen.load(ordering: .sequentiallyConsistent) { usleep(1000) }
      running.wrappingSubtract(1, ordering: .sequentiallyConsistent)
      done.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }
  }

  @Test(
    "A limited number of tasks run at a time, others wait, and tasks beyond the queue's limit are dropped")
  func limits() {
    let threads = TransientThreads(most: 3, mostWaiting: 5)
    let counts = Counts()
    for running in 1...3 {
      threads.run { counts.job() }
      while counts.running.load(ordering: .sequentiallyConsistent) < running { usleep(1000) }
    }
    for _ in 0..<20 { threads.run { counts.job() } }
    counts.isOpen.store(true, ordering: .sequentiallyConsistent)
    while counts.done.load(ordering: .sequentiallyConsistent) < 8 { usleep(1000) }
    usleep(10_000)
    #expect(counts.done.load(ordering: .sequentiallyConsistent) == 8)
    #expect(counts.most.load(ordering: .sequentiallyConsistent) == 3)
  }
}
