import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The end of a mount, and the start of the daemon in the background.
  @Suite struct UnmountTests {
    private static let tensor = SafetensorsFile.Tensor("w", "U8", [3_000_001])
    private static let sourceBytes = SafetensorsFile(tensor).bytes
    private let files: TemporaryDirectory
    private let source: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", Self.sourceBytes)
    }

    @Test(
      "A signal unmounts at once; an open file stays readable, and closing it ends the daemon with 0",
      arguments: [SIGTERM, SIGINT, SIGHUP])
    func signal(number: CInt) async throws {
      let status = try await withForegroundMount(source) { mount in
        var file: OpenFile? = try OpenFile(mount.file("w"))
        expectSame(try file?.bytes(4096, at: 0) ?? [], Self.tensor.data.prefix(4096), "the beginning")
        mount.send(number)
        #expect(try await eventually { try !mount.isMounted })
        #expect(throws: Errno.noSuchFileOrDirectory) { try OpenFile(mount.file("w")) }
        // This offset is far beyond the kernel's read-ahead.
        expectSame(try file?.bytes() ?? [], Self.tensor.data, "the open file")
        #expect(kill(mount.daemon, 0) == 0, "the daemon ended before the file was closed")
        file = nil
      }
      #expect(status == 0)
    }

    @Test("A second signal while a file is open does no harm")
    func twoSignals() async throws {
      let status = try await withForegroundMount(source, options: ["--log-level", "notice"]) { mount in
        let file = try OpenFile(mount.file("w"))
        mount.send(SIGTERM)
        #expect(try await eventually { try !mount.isMounted })
        mount.send(SIGTERM)
        mount.send(SIGINT)
        try await mount.answersSignals()
        expectSame(try file.bytes(), Self.tensor.data, "the open file")
      }
      #expect(status == 0)
    }

    @Test("A mapping outlives the mount, and its pages are correct")
    func mapping() async throws {
      let status = try await withForegroundMount(source) { mount in
        let size = Self.tensor.data.count
        let descriptor = try FileDescriptor.open(mount.file("w"), .readOnly, options: .closeOnExec)
        let address = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, descriptor.rawValue, 0)
        try descriptor.close()
        let mapping = unsafe try #require(address)
        try #require(unsafe mapping != MAP_FAILED)
        defer { unsafe munmap(mapping, size) }
        mount.send(SIGTERM)
        #expect(try await eventually { try !mount.isMounted })
        let bytes = unsafe Array(UnsafeRawBufferPointer(start: mapping, count: size))
        expectSame(bytes, Self.tensor.data, "the mapping")
      }
      #expect(status == 0)
    }

    @Test(
      "umount and fusermount3 -u end the daemon with 0",
      arguments: [["umount"], ["fusermount3", "-u"], ["umount", "-l"]])
    func unmounting(command: [String]) async throws {
      let status = try await withForegroundMount(source) { mount in
        #expect(try OpenFile(mount.file("w")).bytes(1, at: 0) == [Self.tensor.data[0]])
        let outcome = try await Command.run("env", command + ["\(mount.path)"])
        #expect(outcome.status == 0, "\(outcome.error)")
      }
      #expect(status == 0)
    }

    @Test("umount refuses while a file is open, and the mount continues")
    func busy() async throws {
      try await withMount(source) { mount in
        let file = try OpenFile(mount.file("w"))
        let outcome = try await Command.run("umount", ["\(mount.path)"])
        #expect(outcome.status != 0 && outcome.error.contains("busy"))
        expectSame(try file.bytes(), Self.tensor.data, "the open file")
        expectSame(try mount.bytes("w"), Self.tensor.data, "the file opened anew")
      }
    }

    @Test("A signal ends a daemon in the background too", arguments: [SIGTERM, SIGINT, SIGHUP])
    func backgroundSignal(number: CInt) async throws {
      try await withMount(source) { mount in
        mount.daemon.send(number)
        let hasEnded = try await eventually { !mount.daemon.isRunning }
        #expect(hasEnded)
        #expect(try MountInfo.all(at: mount.path).isEmpty)
      }
    }

    @Test("A mount that was moved is unmounted at its new place")
    func moved() async throws {
      // A mount below a shared mount cannot be moved, so this uses one that is not shared.
      try files.makeDirectory("outer")
      let outer = files.path.appending("outer")
      try await Command.output(of: "mount", "-t", "tmpfs", "tmpfs", "\(outer)")
      defer { _ = unsafe umount2("\(outer)", Int32(MNT_DETACH)) }
      try await Command.output(of: "mount", "--make-private", "\(outer)")
      try files.makeDirectory("outer/from")
      let target = try files.makeDirectory("outer/to")
      let from = outer.appending("from")
      let outcome = try await Command.stmount(["\(source)", "\(from)"])
      #expect(outcome.status == 0)
      let daemon = try #require(try Daemon(servingAt: from))
      try await Command.output(of: "mount", "--move", "\(from)", "\(target)")
      expectSame(try OpenFile(target.appending("w")).bytes(), Self.tensor.data, "w")
      daemon.send(SIGTERM)
      #expect(try await eventually { !daemon.isRunning })
      #expect(try MountInfo.all(at: target).isEmpty)
    }

    @Test("$(stmount …) does not wait for the daemon, which releases standard input, output and error")
    func commandSubstitution() async throws {
      let mountPoint = try files.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      let outcome = try await Command.run(
        "sh",
        [
          "-c", #"said=$("$1" -v "$2" "$3" 2>&1); echo "$?:$said"; readlink /proc/self/fd/0"#, "sh",
          "\(Machine.stmount)", "\(source)", "\(mountPoint)",
        ])
      #expect(outcome.text.hasPrefix("0:"))
      let daemon = try #require(try Daemon(servingAt: mountPoint))
      for number in 0...2 {
        let link = try await Command.output(of: "readlink", "/proc/\(daemon.id)/fd/\(number)")
        #expect(link == "/dev/null")
      }
      let directory = try await Command.output(of: "readlink", "/proc/\(daemon.id)/cwd")
      #expect(directory == "/", "the daemon keeps a file system busy")
      daemon.send(SIGTERM)
      #expect(try await eventually { !daemon.isRunning })
    }

    @Test("A command started without standard input, output and error mounts")
    func closedDescriptors() async throws {
      let mountPoint = try files.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      let outcome = try await Command.run(
        "sh", ["-c", #"exec "$@" <&- >&- 2>&-"#, "sh", "\(Machine.stmount)", "\(source)", "\(mountPoint)"])
      #expect(outcome.status == 0)
      expectSame(try OpenFile(mountPoint.appending("w")).bytes(), Self.tensor.data, "w")
      let daemon = try #require(try Daemon(servingAt: mountPoint))
      try await Command.output(of: "umount", "\(mountPoint)")
      #expect(try await eventually { !daemon.isRunning })
    }

    @Test("A command started with signals blocked or ignored still ends by them")
    func inheritedSignals() async throws {
      let mountPoint = try files.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      let outcome = try await Command.run(
        "sh",
        ["-c", #"trap '' HUP INT TERM; exec "$@""#, "sh", "\(Machine.stmount)", "\(source)", "\(mountPoint)"])
      #expect(outcome.status == 0)
      let daemon = try #require(try Daemon(servingAt: mountPoint))
      daemon.send(SIGTERM)
      #expect(try await eventually { !daemon.isRunning })
      #expect(try MountInfo.all(at: mountPoint).isEmpty)
    }

    @Test("A daemon that ends late leaves alone a mount that has its device number by then")
    func lateEnd() async throws {
      // The kernel assigns the lowest free number, which another program on the machine may get first.
      var rounds = 0
      while try await !endsLate() {
        rounds += 1
        try #require(rounds < 100, "no later mount has the number of an earlier one")
      }
    }

    /// Makes a daemon end after its mount, and expects a later mount to stay. False if the later mount has another device number.
    private func endsLate() async throws -> Bool {
      try await withMount(source) { mount in
        let device = try Stat(mount.path).deviceID
        mount.daemon.send(SIGSTOP)
        defer { mount.daemon.send(SIGCONT) }
        // umount(8) would send a request to the daemon first.
        try #require(unsafe umount2("\(mount.path)", 0) == 0)
        return try await withMount(source) { next in
          mount.daemon.send(SIGCONT)
          #expect(try await eventually { !mount.daemon.isRunning })
          #expect(try next.bytes("w") == Self.tensor.data)
          return try Stat(next.path).deviceID == device
        }
      }
    }

    @Test("Cutting the connection ends the daemon, and leaves no dead mount behind")
    func abortedConnection() async throws {
      try await withMount(source) { mount in
        try await withConnection(of: mount.path) { try $0.abort() }
        #expect(try await eventually { !mount.daemon.isRunning })
        #expect(try MountInfo.all(at: mount.path).isEmpty)
      }
    }
  }
}
