import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// A model on a store with a high latency for each request.
  @Suite struct SlowStoreTests {
    private static let size = 24 << 20
    private static let large = SafetensorsFile.Tensor("large", "U8", [size])
    private static let small = (0..<100).map { number in
      SafetensorsFile.Tensor("small.\(String(number + 100).dropFirst())", "U8", [16 << 10])
    }
    private static let last = SafetensorsFile.Tensor("z", "U8", [1 << 20])
    private static let model = SafetensorsFile([large] + small + [last])
    /// A size beyond the first prefetch window.
    private static let long = SafetensorsFile(.init("long", "U8", [48 << 20]))

    /// Runs `body` with a mount of the model on such a store.
    private func withSlowModel(
      _ values: String..., model: SafetensorsFile = model,
      body: (Store, MountedModel) async throws -> Void
    ) async throws {
      try await withStore([("m.safetensors", model)], "latency=20", "bandwidth=200") { store in
        try await withMount(store.path.appending("m.safetensors")) { mount in
          for value in values + ["reset=1"] { try store.set(value) }
          try await body(store, mount)
        }
      }
    }

    @Test("A tensor is fetched in many requests at the same time, and no bytes outside of it")
    func whole() async throws {
      // With this latency, even a busy machine requests the next pieces before the first one arrives.
      try await withSlowModel("latency=200") { store, mount in
        let bytes = try OpenFile(mount.file("large")).bytes()
        expectSame(bytes, Self.large.data, "large")
        let counts = try store.counts
        #expect(counts.bytes <= Self.size + Self.size / 10, "\(counts)")
        #expect(counts.mostInFlight >= 8, "\(counts)")
        #expect(counts.reads <= 2 * Self.size >> 20, "\(counts): large ones")
      }
    }

    @Test("Random reads fetch their own pages and no others")
    func random() async throws {
      try await withSlowModel { store, mount in
        let file = try OpenFile(mount.file("large"))
        posix_fadvise(file.descriptor.rawValue, 0, 0, Int32(POSIX_FADV_RANDOM))
        for number in 0..<40 {
          let offset = number * 7 % 40 * 600_000 / 4096 * 4096
          expectSame(try file.bytes(4096, at: offset), Self.large.data[offset..<offset + 4096], "\(offset)")
        }
        let counts = try store.counts
        // A page of the tensor's file covers two pages of the model. The kernel may drop one of them before stmount copies it.
        #expect(counts.bytes <= 44 * 8192 && 40...44 ~= counts.reads, "\(counts)")
      }
    }

    @Test(
      "On rclone, which starts a download for each other position, one open file reads a tensor from beginning to end"
    )
    func sequence() async throws {
      let tensors = (0..<3).map { SafetensorsFile.Tensor("t.\($0)", "U8", [8 << 20]) }
      let model = SafetensorsFile(tensors)
      try await withStore([("m.safetensors", model)], "latency=2", "subtype=rclone") { store in
        try await withMount(store.path.appending("m.safetensors")) { mount in
          try store.set("reset=1")
          let readers = tensors.enumerated().map { number, tensor in
            onThread { expectSame(try mount.bytes("t.\(number)"), tensor.data, "t.\(number)") }
          }
          for reader in readers { try await reader.value }
          let counts = try store.counts
          // The kernel may reorder a reader's first requests, a page may belong to two tensors, and two open files
          // are told to stop.
          #expect(counts.jumps <= 14 && counts.reads >= 24, "\(counts)")
        }
      }
    }

    @Test(
      "When a tensor ends, rclone is told to stop downloading what follows it: by a read of the file's last page"
    )
    func leaving() async throws {
      let tensors = (0..<2).map { SafetensorsFile.Tensor("t.\($0)", "U8", [2 << 20]) }
      try await withStore([("m.safetensors", SafetensorsFile(tensors))], "subtype=rclone") { store in
        try await withMount(store.path.appending("m.safetensors")) { mount in
          try store.set("reset=1")
          expectSame(try mount.bytes("t.0"), tensors[0].data, "t.0")
          let isTold = try await eventually { try store.counts.tails == 1 }
          let counts = try store.counts
          #expect(isTold && counts.bytes < 3 << 20, "\(counts)")
        }
      }
    }

    @Test("A reader who stops has cost only the requests in progress: 32 MiB at the beginning")
    func stops() async throws {
      try await withSlowModel(model: Self.long) { store, mount in
        let file = try OpenFile(mount.file("long"))
        for number in 0..<4 { _ = try file.bytes(1 << 18, at: number << 18) }
        // Prefetching has ended if nothing new arrives for a second.
        var counts = try store.counts
        while true {
          try await Task.sleep(for: .seconds(1))
          let now = try store.counts
          if now.bytes == counts.bytes { break }
          counts = now
        }
        #expect(counts.bytes < 36 << 20, "\(counts) for 1 MiB")
      }
    }

    @Test("Bytes of the source that are in the page cache are not fetched again")
    func cached() async throws {
      try await withSlowModel { store, mount in
        let source = try OpenFile(store.path.appending("m.safetensors"))
        expectSame(try source.bytes().suffix(Self.last.data.count), Self.last.data, "the source")
        // All except two MiB.
        let pinned = try [source.pinned(0..<10 << 20), source.pinned(12 << 20..<Self.size + 1 << 20)]
        defer { withExtendedLifetime(pinned) {} }
        posix_fadvise(source.descriptor.rawValue, 0, 0, Int32(POSIX_FADV_DONTNEED))
        try store.set("reset=1")
        expectSame(try mount.bytes("large"), Self.large.data, "large")
        let counts = try store.counts
        #expect(2 << 20...5 << 20 ~= counts.bytes, "\(counts)")
      }
    }

    @Test("Bytes that were prefetched before the source changed are not sent afterwards")
    func changed() async throws {
      try await withStore([("m.safetensors", Self.model)], "attr_timeout=0") { store in
        try await withMount(store.path.appending("m.safetensors")) { mount in
          let file = try OpenFile(mount.file("large"))
          for number in 0..<4 { _ = try file.bytes(1 << 18, at: number << 18) }
          #expect(try await eventually { try store.counts.bytes >= 7 << 20 })
          let writer = try FileDescriptor.open(store.below.appending("m.safetensors"), .writeOnly)
          try writer.closeAfter { _ = try writer.writeAll(toAbsoluteOffset: 20 << 20, [1]) }
          for offset in [6 << 20, 7 << 20, 20 << 20] {
            _ = #expect(throws: Errno.ioError) { try file.bytes(4096, at: offset) }
          }
        }
      }
    }

    @Test("Many small tensors read in order are one stream")
    func manySmall() async throws {
      try await withSlowModel { store, mount in
        for tensor in Self.small {
          let name = String(decoding: tensor.name, as: UTF8.self)
          expectSame(try mount.bytes(name), tensor.data, "\(name)")
        }
        let counts = try store.counts
        #expect(counts.reads < 30, "\(counts) for \(Self.small.count) tensors")
      }
    }

    @Test(
      "Headers of a hundred shards are read many at a time, each in one request, and errors come in their order"
    )
    func opening() async throws {
      let names = (1...100).map { "model-\(String($0 + 100_000).dropFirst())-of-00100.safetensors" }
      let shards = names.enumerated().map { number, name in
        (name: name, contents: SafetensorsFile(.init("t.\(number)", "U8", [100_000])))
      }
      try await withStore(shards, "attr_timeout=0", "max_background=64") { store in
        try store.set("read_latency=600000")
        // The store answers no read, except the first, before so many are under way.
        let answering = Task {
          let areMany = try await eventually { try store.counts.underWay >= 16 }
          try store.set("read_latency=0")
          return areMany
        }
        try await withMount(store.path) { mount in
          #expect(try await answering.value)
          let counts = try store.counts
          #expect(counts.reads <= 110, "\(counts)")
          for number in [0, 1, 50, 99] {
            expectSame(try mount.bytes("t.\(number)"), shards[number].contents.tensors[0].data, "\(number)")
          }
        }
        for number in [90, 40, 60] {
          let file = try FileDescriptor.open(
            store.below.appending(names[number]), .writeOnly, options: .truncate)
          try file.close()
        }
        let outcome = try await Command.run("\(Machine.stls)", ["\(store.path)"])
        #expect(outcome.status != 0 && outcome.error.contains(names[40]), "\(outcome.error)")
      }
    }

    @Test(
      "A header that is longer than the first read is fetched by requests that wait for none of the others")
    func longHeader() async throws {
      let tensors = (0..<20_000).map {
        SafetensorsFile.Tensor("a.rather.long.name.for.a.tensor.\($0)", "U8", [1])
      }
      try await withStore([("m.safetensors", SafetensorsFile(tensors))], "latency=200") { store in
        try await withMount(store.path.appending("m.safetensors")) { mount in
          let counts = try store.counts
          #expect(counts.mostInFlight >= 8 && counts.reads < 25, "\(counts)")
        }
      }
    }

    @Test("While 64 readers wait for a store, the daemon answers a listing, cached reads and another source")
    func starvation() async throws {
      let other = try TemporaryDirectory()
      let second = SafetensorsFile.Tensor("second", "U8", [300_000])
      let local = try other.write("second.safetensors", SafetensorsFile(second))
      try await withStore([("m.safetensors", Self.model)], "latency=0") { store in
        try await withMount(store.path.appending("m.safetensors"), local) { mount in
          let cached = try OpenFile(mount.file("z"))
          expectSame(try cached.bytes(), Self.last.data, "z")
          let pinned = try cached.pinned(0..<1 << 20)
          defer { withExtendedLifetime(pinned) {} }
          // The fault stays until the test sets another value.
          try store.set("latency=600000")
          let readers = (0..<64).map { number in
            onThread {
              let offset = number * 300_000
              let bytes = try OpenFile(mount.file("large")).bytes(100_000, at: offset)
              expectSame(bytes, Self.large.data[offset..<offset + 100_000], "at \(offset)")
            }
          }
          try await withConnection(of: mount.path) { connection in
            try #require(try await eventually { try connection.waiting >= 32 })
          }
          _ = try await Command.output(of: "ls", "-l", "\(mount.path)")
          _ = try await Command.output(of: "ls", "-l", "\(mount.file(".npy"))")
          expectSame(try cached.bytes(1 << 20, at: 0), Self.last.data, "z")
          expectSame(try mount.bytes("second"), second.data, "second")
          try store.set("latency=0")
          for reader in readers { try await reader.value }
          #expect(
            try await eventually { try mount.daemon.threads <= 30 }, "threads that nobody needs go again")
        }
      }
    }

    @Test("TERM frees the mount point while a store does not answer, whatever is prefetched")
    func end() async throws {
      try await withStore([("m.safetensors", Self.long)], "latency=1") { store in
        let status = try await withForegroundMount(store.path.appending("m.safetensors")) { mount in
          let file = try OpenFile(mount.file("long"))
          for number in 0..<8 { _ = try file.bytes(1 << 18, at: number << 18) }
          try store.set("latency=600000")
          // These offsets are beyond the prefetch window, and so far apart that the kernel sends a request for each.
          let readers = (0..<40).map { number in
            onThread { try OpenFile(mount.file("long")).bytes(100_000, at: 36 << 20 + number * 300_000) }
          }
          try await withConnection(of: mount.path) { connection in
            try #require(try await eventually { try connection.waiting >= 20 })
          }
          mount.send(SIGTERM)
          #expect(try await eventually { try !mount.isMounted })
          try store.set("latency=0")
          for reader in readers { _ = await reader.result }
        }
        #expect(status == 0)
      }
    }

    @Test(
      "Reads that a store fails return EIO or correct bytes, never wrong or short ones, and succeed the next time",
      arguments: [
        "errors=150", "errors=150 errno=116", "errors=150 errno=110", "direct=1 errors=150",
        "direct=1 short=100",
      ])
    func faults(fault: String) async throws {
      try await withStore([("m.safetensors", Self.model)], "latency=0", "attr_timeout=0") { store in
        if fault.hasPrefix("direct") { try store.set("direct=1") }
        let status = try await withForegroundMount(store.path.appending("m.safetensors")) { mount in
          for value in fault.split(separator: " ") { try store.set("\(value)") }
          var (failures, offset) = (0, 0)
          let file = try OpenFile(mount.file("large"))
          while offset < 4 << 20 {
            do {
              let bytes = try file.bytes(100_000, at: offset)
              // The read is short if the page that fails is not its first one.
              try #require(!bytes.isEmpty)
              expectSame(bytes, Self.large.data[offset..<offset + bytes.count], "at \(offset)")
              offset += bytes.count
            } catch {
              #expect(error as? Errno == .ioError)
              failures += 1
              try #require(failures < 10_000)
            }
          }
          for value in ["errors=0", "short=0"] { try store.set(value) }
          #expect(
            try await eventually {
              (try? OpenFile(mount.file("large")).bytes()) == Self.large.data
            })
          let log = try mount.log
          #expect(log.count <= 1 && log.allSatisfy { $0.contains("cannot be read") }, "\(log)")
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }
  }
}
