import Fixtures
import Glibc
import SystemPackage
import Testing

/// A model on a FUSE file system of a test program, which does not answer while it is stopped.
private struct HangingDisk {
  static let tensor = SafetensorsFile.Tensor("w", "U8", [8_000_000])
  private let files: TemporaryDirectory
  private let disk: FilePath
  /// The model's path in the directory that the program serves.
  let below: FilePath

  init() throws {
    files = try TemporaryDirectory()
    below = try files.write("below/m.safetensors", SafetensorsFile(Self.tensor))
    disk = try files.makeDirectory("disk")
  }

  /// Runs `body` with the model on the file system, and the program's process.
  func run(_ body: (_ model: FilePath, _ server: Int32) async throws -> Void) async throws {
    let output = try await Command.output(
      of: "sh", "-c", #"bindfs -f "$1" "$2" >/dev/null 2>&1 & echo $!"#, "sh",
      "\(below.removingLastComponent())", "\(disk)")
    let server = try #require(Int32(output))
    defer {
      kill(server, SIGKILL)
      _ = unsafe umount2("\(disk)", Int32(MNT_DETACH))
    }
    let model = disk.appending("m.safetensors")
    try #require(try await eventually { (try? Stat(model)) != nil })
    try await body(model, server)
  }

  /// Twelve readers, which is more than the workers, of parts of a file that are not cached.
  static func readers(of file: FilePath) -> [Task<Bool, any Error>] {
    (0..<12).map { number in
      onThread {
        let offset = 2_000_000 + number * 400_000
        guard let bytes = try? OpenFile(file).bytes(100_000, at: offset) else { return false }
        expectSame(bytes, tensor.data[offset..<offset + 100_000], "at \(offset)")
        return true
      }
    }
  }

  /// Waits until at least so many readers wait for a mount's daemon.
  static func wait(for count: Int, at mountPoint: FilePath) async throws {
    try await withConnection(of: mountPoint) { connection in
      try #require(try await eventually { try connection.waiting >= count })
    }
  }
}

extension MountTests {
  /// Sources that do not answer, temporarily or permanently.
  @Suite struct HangingSourceTests {
    @Test("TERM frees the mount point and ends the daemon while its source hangs; its readers get an error")
    func end() async throws {
      try await HangingDisk().run { model, server in
        let status = try await withForegroundMount(model) { mount in
          #expect(try OpenFile(mount.file("w")).bytes(1, at: 0) == [HangingDisk.tensor.data[0]])
          kill(server, SIGSTOP)
          let readers = HangingDisk.readers(of: mount.file("w"))
          try await HangingDisk.wait(for: 10, at: mount.path)
          mount.send(SIGTERM)
          #expect(try await withinTwoSeconds { try !mount.isMounted && !mount.isRunning })
          for reader in readers { #expect(try await !reader.value) }
          #expect(try mount.log.contains { $0.contains("does not answer") })
        }
        #expect(status == 0)
      }
    }

    @Test(
      "TERM ends the daemon with all its threads while a store has taken requests that it does not answer",
      arguments: ["latency", "stat_latency"])
    func taken(requests: String) async throws {
      let model = (name: "m.safetensors", contents: SafetensorsFile(HangingDisk.tensor))
      try await withStore([model], "flush=1", "attr_timeout=0") { store in
        let status = try await withForegroundMount(store.path.appending("m.safetensors")) { mount in
          #expect(try OpenFile(mount.file("w")).bytes(1, at: 0) == [HangingDisk.tensor.data[0]])
          try store.set("\(requests)=600000")
          let whole = onThread { (try? OpenFile(mount.file("w")).bytes()) != nil }
          let readers =
            [whole] + ["w", ".npy/w.npy"].flatMap { HangingDisk.readers(of: mount.file($0)) }
          try await HangingDisk.wait(for: 10, at: mount.path)
          #expect(try Stat(mount.file("w")).size == Int64(HangingDisk.tensor.data.count))
          mount.send(SIGTERM)
          #expect(try await withinTwoSeconds { try !mount.isMounted && !mount.isRunning })
          try store.set("\(requests)=0")
          for reader in readers { #expect(try await !reader.value) }
        }
        #expect(status == 0)
      }
    }

    @Test("TERM ends the daemon while a store answers nothing, not even the closing of files")
    func idle() async throws {
      let model = (name: "m.safetensors", contents: SafetensorsFile(HangingDisk.tensor))
      try await withStore([model], "flush=1") { store in
        let status = try await withForegroundMount(store.path.appending("m.safetensors")) { mount in
          #expect(try OpenFile(mount.file("w")).bytes(1, at: 0) == [HangingDisk.tensor.data[0]])
          try store.set("latency=600000")
          mount.send(SIGTERM)
          #expect(try await withinTwoSeconds { try !mount.isMounted && !mount.isRunning })
          try store.set("latency=0")
        }
        #expect(status == 0)
      }
    }

    @Test("A user's daemon ends in the same way")
    func user() async throws {
      let space = try PrivateNamespace(model: SafetensorsFile(HangingDisk.tensor))
      let output = try await space.run(
        """
        mkdir "$directory/below" "$directory/disk"
        mv "$model" "$directory/below"
        chown 65534:65534 "$directory/disk"
        bindfs -f -o allow_other "$directory/below" "$directory/disk" & server=$!
        trap 'kill -9 $server; umount -l "$mnt" "$directory/disk" 2>/dev/null || :' EXIT
        until [ -e "$directory/disk/m.safetensors" ]; do sleep 0.01; done
        as_nobody "$stmount" "$directory/disk/m.safetensors" "$mnt"
        pid=$(daemon)
        mkdir "$directory/connections"; mount -t fusectl fusectl "$directory/connections"
        waiting=$directory/connections/$(findmnt -n -r -o MAJ:MIN --mountpoint "$mnt" | cut -d : -f 2)/waiting
        kill -STOP $server
        for number in $(seq 12); do
          as_nobody dd if="$mnt/w" bs=100000 skip=$((20 + number * 4)) count=1 >/dev/null 2>&1 &
        done
        until [ "$(cat "$waiting")" -ge 10 ]; do sleep 0.01; done
        kill -TERM "$pid"
        ends "$pid"
        findmnt --mountpoint "$mnt" || echo gone
        """)
      #expect(output == "gone")
    }

    @Test("The demonstration writes its model while the source of another mount does not answer")
    func demonstration() async throws {
      let space = try PrivateNamespace(model: SafetensorsFile(HangingDisk.tensor))
      let output = try await space.run(
        """
        mkdir "$directory/below" "$directory/disk"
        mv "$model" "$directory/below"
        bindfs -f "$directory/below" "$directory/disk" & server=$!
        trap 'kill -9 $server; umount -l "$mnt" "$directory/disk" 2>/dev/null || :' EXIT
        until [ -e "$directory/disk/m.safetensors" ]; do sleep 0.01; done
        "$stmount" "$directory/disk/m.safetensors" "$mnt"
        kill -STOP $server
        # Waits until the kernel's cached name of the source expires.
        sleep 1.2
        "$1" --write "$directory/demo.safetensors" & demo=$!
        ends $demo
        [ ! -s "$directory/demo.safetensors" ] || echo written
        """, "\(Machine.repository)/docs/demo.sh")
      #expect(output == "written")
    }

    @Test(
      "A change detected while twelve readers hold pages of the file drops them, without a deadlock"
    )
    func changeWithReadersInside() async throws {
      let disk = try HangingDisk()
      try await disk.run { model, server in
        let status = try await withForegroundMount(model) { mount in
          #expect(try OpenFile(mount.file("w")).bytes(1, at: 0) == [HangingDisk.tensor.data[0]])
          kill(server, SIGSTOP)
          let readers = ["w", ".npy/w.npy"].flatMap { HangingDisk.readers(of: mount.file($0)) }
          try await HangingDisk.wait(for: 10, at: mount.path)
          let file = try FileDescriptor.open(disk.below, .writeOnly, options: .append)
          try file.closeAfter { _ = try file.writeAll([0]) }
          kill(server, SIGCONT)
          for reader in readers { _ = await reader.result }
          #expect(
            try await eventually {
              (try? OpenFile(mount.file("w")).bytes(4096, at: 0)) == nil
            })
          #expect(try OpenFile(mount.file("metadata.json")).bytes().last == UInt8(ascii: "\n"))
          #expect(try mount.log.count { $0.contains("has changed") } == 1)
          mount.send(SIGTERM)
        }
        #expect(status == 0)
      }
    }
  }
}

/// Runs beside the other tests, since it waits for half a minute.
@Suite(.timeLimit(.minutes(5))) struct LongHangingSourceTests {
  @Test(
    "A read that takes longer than the kernel's timeout for requests is answered, and the mount goes on")
  func requestTimeout() async throws {
    let setting = FilePath("/proc/sys/fs/fuse/default_request_timeout")
    // The file does not exist before Linux 6.15.
    guard let before = try? OpenFile(setting).bytes() else { return }
    func set(_ text: some Sequence<UInt8>) throws {
      let file = try FileDescriptor.open(setting, .writeOnly)
      try file.closeAfter { _ = try file.writeAll(text) }
    }
    try await HangingDisk().run { model, server in
      defer { try? set(before) }
      // The kernel's minimum is 15 seconds, and it checks once in 15 seconds.
      try set("1".utf8)
      try await withMount(model) { mount in
        try set(before)
        kill(server, SIGSTOP)
        let readers = HangingDisk.readers(of: mount.file("w"))
        try await Task.sleep(for: .seconds(32))
        kill(server, SIGCONT)
        for reader in readers { #expect(try await reader.value) }
        expectSame(try mount.bytes("w"), HangingDisk.tensor.data, "w")
      }
    }
  }
}
