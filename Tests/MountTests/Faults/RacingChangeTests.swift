import Fixtures
import Glibc
import Synchronization
import SystemPackage
import Testing

extension MountTests {
  /// Readers and a writer that run at the same time, repeatedly.
  @Suite struct RacingChangeTests {
    private static let count = 1 << 20
    private static let seed: UInt64 = 20_261_125

    /// The results of the reads of one shard.
    struct Tally: Sendable {
      var reads = 0
      var failures = 0
      /// Wrong or short reads that ended before the change.
      var wrongBefore = 0
      /// Wrong or short reads that were in progress during the change.
      var wrongMeanwhile = 0
      /// Wrong or short reads that began after the change.
      var wrongAfter = 0
      var readsAfter = 0

      mutating func add(_ other: Tally) {
        reads += other.reads
        failures += other.failures
        wrongBefore += other.wrongBefore
        wrongMeanwhile += other.wrongMeanwhile
        wrongAfter += other.wrongAfter
        readsAfter += other.readsAfter
      }
    }

    /// The times at which a change began and ended.
    private final class Moment: Sendable {
      let span = Mutex<(begin: ContinuousClock.Instant?, end: ContinuousClock.Instant?)>((nil, nil))
      let isDone = Atomic<Bool>(false)
      /// The number of reads that have ended, with correct bytes or not.
      let answers = Atomic<Int>(0)

      /// Waits for `count` more reads to end. A busy machine takes longer.
      func wait(for count: Int) async throws {
        let target = answers.load(ordering: .relaxed) + count
        let hasCome = try await eventually(every: .microseconds(100)) {
          answers.load(ordering: .relaxed) >= target
        }
        #expect(hasCome, "no \(count) reads were answered")
      }
    }

    /// Reads random parts of a file until it is told to stop.
    private func hammer(
      _ path: FilePath, _ options: FileDescriptor.OpenOptions, origin: Int = 0, _ shard: ChangedShard,
      seed: UInt64,
      _ moment: Moment
    ) throws -> Tally {
      var random = SeededGenerator(seed: seed)
      let file = try OpenFile(path, options)
      var results: [(begin: ContinuousClock.Instant, end: ContinuousClock.Instant, isRight: Bool)] = []
      var tally = Tally()
      while !moment.isDone.load(ordering: .acquiring) {
        let size = [4096, 65_536, 131_072, 524_288].randomElement(using: &random) ?? 4096
        let offset = Int.random(in: 0...(Self.count - size) / 4096, using: &random) * 4096
        let begin = ContinuousClock.now
        do {
          let bytes = try file.alignedBytes(size, at: origin + offset)
          let end = ContinuousClock.now
          results.append(
            (begin, end, !bytes.isEmpty && bytes.isSame(as: shard.tensor.data[offset..<offset + bytes.count]))
          )
        } catch Errno.ioError {
          tally.failures += 1
        }
        moment.answers.wrappingAdd(1, ordering: .relaxed)
      }
      let span = moment.span.withLock { $0 }
      guard let began = span.begin, let ended = span.end else { return tally }
      tally.reads = results.count
      for result in results {
        if result.begin > ended { tally.readsAfter += 1 }
        if result.isRight { continue }
        if result.end < began {
          tally.wrongBefore += 1
        } else if result.begin > ended {
          tally.wrongAfter += 1
        } else {
          tally.wrongMeanwhile += 1
        }
      }
      return tally
    }

    /// Changes a shard while `readers` run: after a number of reads, and then after `microseconds`.
    private func race(
      _ shard: ChangedShard, after microseconds: Int, reads: Int,
      _ readers: [@Sendable (Moment) throws -> Tally]
    ) async throws -> Tally {
      let moment = Moment()
      let tasks = readers.map { reader in onThread { try reader(moment) } }
      do {
        defer { moment.isDone.store(true, ordering: .releasing) }
        try await moment.wait(for: reads)
        try await Task.sleep(for: .microseconds(microseconds))
        try shard.apply { moment.span.withLock { $0.begin = .now } }
        moment.span.withLock { $0.end = .now }
        try await Task.sleep(for: .milliseconds(3))
        try await moment.wait(for: 20)
      }
      var sum = Tally()
      for task in tasks { sum.add(try await task.value) }
      return sum
    }

    private static func shards(_ count: Int, in files: TemporaryDirectory) throws -> [ChangedShard] {
      let changes: [ChangedShard.Change] = [
        .truncated(to: 0), .rewritten(from: 0), .truncated(to: 500_001), .extended(by: 1),
        .rewritten(from: 700_000),
        .truncated(to: 1 << 20),
      ]
      return try (0..<count).map {
        try ChangedShard($0, count: Self.count, changes[$0 % changes.count], in: files)
      }
    }

    @Test(
      "Readers race with a writer: a read that begins after the change is EIO, and no page stays cached",
      arguments: ["auto", "copy"])
    func races(source: String) async throws {
      let files = try TemporaryDirectory()
      let shards = try Self.shards(60, in: files)
      var random = SeededGenerator(seed: Self.seed)
      var sum = Tally()
      let status = try await withForegroundMount(shards.map(\.path), options: ["-o", "io=\(source)"]) {
        mount in
        for shard in shards {
          let seed = random.next()
          let direct: @Sendable (Moment) throws -> Tally = { moment in
            try hammer(mount.file(shard.name), OpenFile.direct, shard, seed: seed, moment)
          }
          sum.add(
            try await race(
              shard, after: Int.random(in: 0...2000, using: &random), reads: 20, [direct, direct]))
          // These reads use the page cache. Some of its pages come from replies that were in progress during the change.
        }
        for shard in shards {
          let cached = try OpenFile(mount.file(shard.name))
          for offset in stride(from: 0, to: Self.count, by: 1 << 16) {
            #expect(throws: Errno.ioError, "\(shard.change)") { try cached.bytes(1 << 16, at: offset) }
          }
        }
        let log = try mount.log
        #expect(log.count == shards.count, "\(log)")
        mount.send(SIGTERM)
      }
      #expect(status == 0)
      #expect(sum.reads >= 1000 && sum.failures > 100, "too little was read to say anything: \(sum)")
      #expect(sum.wrongBefore == 0 && sum.wrongAfter == 0, "seed \(Self.seed): \(sum)")
      // stmount checks the source after copying the bytes, so even reads in progress are correct or fail.
      if source == "copy" { #expect(sum.wrongMeanwhile == 0, "seed \(Self.seed): \(sum)") }
      print("io=\(source): \(sum)")
    }

    @Test(
      "Pages of replies during a change do not stay in the page cache",
      arguments: ["auto", "mmap"])
    func cachedRaces(source: String) async throws {
      let files = try TemporaryDirectory()
      let shards = try Self.shards(60, in: files)
      var random = SeededGenerator(seed: Self.seed &+ 1)
      var sum = Tally()
      let status = try await withForegroundMount(shards.map(\.path), options: ["-o", "io=\(source)"]) {
        mount in
        for shard in shards {
          let seed = random.next()
          let readers: [@Sendable (Moment) throws -> Tally] = (0..<2).map { number in
            { moment in
              try hammer(mount.file(shard.name), [], shard, seed: seed &+ UInt64(number), moment)
            }
          }
          // The change comes early, because the kernel does not ask again for pages that were read.
          sum.add(try await race(shard, after: Int.random(in: 100...2000, using: &random), reads: 2, readers))
        }
        for shard in shards {
          let file = try OpenFile(mount.file(shard.name))
          _ = try? OpenFile(mount.file(shard.name), OpenFile.direct).alignedBytes(4096, at: 0)
          // The kernel drops the pages one after the other.
          for offset in stride(from: 0, to: Self.count, by: 1 << 16) {
            let isDropped = try await eventually { (try? file.bytes(1 << 16, at: offset)) == nil }
            #expect(isDropped, "\(shard.change), at \(offset)")
            #expect(throws: Errno.ioError, "\(shard.change)") { try file.bytes(1 << 16, at: offset) }
          }
        }
        mount.send(SIGTERM)
      }
      #expect(status == 0)
      // The number of correct reads depends on the machine: after the change, the kernel can still answer reads from its cache.
      #expect(sum.reads > 100, "too little was read to say anything: \(sum)")
      #expect(sum.wrongBefore == 0, "seed \(Self.seed): \(sum)")
      print("cached, io=\(source): \(sum)")
    }

    @Test("The same readers find wrong bytes in the source itself, which has no checks")
    func control() async throws {
      let files = try TemporaryDirectory()
      var sum = Tally()
      for shard in try Self.shards(6, in: files) {
        let data = SafetensorsFile(shard.tensor).bytes.count - Self.count
        sum.add(
          try await race(
            shard, after: 0, reads: 20, [{ try hammer(shard.path, [], origin: data, shard, seed: 1, $0) }]))
      }
      #expect(sum.wrongBefore == 0 && sum.wrongAfter > 0, "\(sum)")
    }
  }
}

extension [UInt8] {
  fileprivate func isSame(as other: ArraySlice<UInt8>) -> Bool {
    guard count == other.count else { return false }
    return unsafe withUnsafeBytes { left in
      unsafe other.withUnsafeBytes { right in
        guard let left = left.baseAddress, let start = right.baseAddress else { return true }
        return unsafe memcmp(left, start, right.count) == 0
      }
    }
  }
}
