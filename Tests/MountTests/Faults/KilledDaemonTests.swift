import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Daemons that end abruptly, and the mounts that they leave.
  @Suite struct KilledDaemonTests {
    private static let tensor = SafetensorsFile.Tensor("w", "U8", [8_000_000])
    private let files: TemporaryDirectory
    private let source: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", SafetensorsFile(Self.tensor))
    }

    @Test(
      "Readers of a killed daemon get an error and no wrong byte; the next mount there names the command that --clear-dead runs"
    )
    func killed() async throws {
      let mountPoint = try files.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      #expect(try await Command.stmount(["\(source)", "\(mountPoint)"]).status == 0)
      let daemon = try #require(try Daemon(servingAt: mountPoint))
      let path = mountPoint.appending("w")
      let readers = (0..<4).map { number in
        onThread { () throws -> Errno in
          do {
            let file = try OpenFile(path, number % 2 == 0 ? OpenFile.direct : [])
            while true {
              for offset in stride(from: 0, to: 7_864_320, by: 1 << 18) {
                expectSame(
                  try file.alignedBytes(1 << 18, at: offset), Self.tensor.data[offset..<offset + 1 << 18],
                  "at \(offset)")
              }
              // If all pages are cached, the daemon gets no request.
              if number % 2 == 1 { _ = try Stat(path.removingLastComponent().appending("none\(number)")) }
            }
          } catch Errno.noSuchFileOrDirectory {
            return .noSuchFileOrDirectory
          } catch let error as Errno {
            return error
          }
        }
      }
      try await Task.sleep(for: .milliseconds(50))
      daemon.send(SIGKILL)
      for (number, reader) in readers.enumerated() where number % 2 == 0 {
        let error = try await reader.value
        // Requests in progress fail with ECONNABORTED, and later ones with ENOTCONN.
        #expect([.connectionAbort, .socketNotConnected, .ioError].contains(error), "\(error)")
      }
      for reader in readers { _ = try await reader.value }
      #expect(try await eventually { !daemon.isRunning })

      let refused = try await Command.stmount(["\(source)", "\(mountPoint)"])
      #expect(
        refused.status == EX_CANTCREAT && refused.error.contains("umount -l '\(mountPoint)'"),
        "\(refused.error)")
      #expect(refused.errorLines.count == 1)
      let cleared = try await Command.stmount(["--clear-dead", "\(source)", "\(mountPoint)"])
      #expect(cleared.status == 0, "\(cleared.error)")
      expectSame(try OpenFile(path).bytes(), Self.tensor.data, "w")
      try await Command.output(of: "umount", "\(mountPoint)")
      #expect(try await eventually { try Daemon(servingAt: mountPoint) == nil })
    }

    /// Builds a library for LD_PRELOAD. The first unmount of the process creates the file `$GATE`, and waits until the file is removed.
    private static let gate = """
      #include <fcntl.h>
      #include <stdlib.h>
      #include <sys/syscall.h>
      #include <unistd.h>
      int umount2(const char *target, int flags) {
        const char *gate = getenv("GATE");
        if (gate) close(open(gate, O_CREAT | O_WRONLY, 0600));
        while (gate && access(gate, F_OK) == 0) usleep(1000);
        unsetenv("GATE");
        return (int)syscall(SYS_umount2, target, flags);
      }
      """

    @Test("Of two commands with --clear-dead the slower one leaves alone what the faster one has mounted")
    func clearedTwice() async throws {
      let code = try files.write("gate.c", text: Self.gate)
      let library = files.path.appending("gate.so")
      try await Command.output(of: "cc", "-shared", "-fPIC", "-o", "\(library)", "\(code)")
      let gate = files.path.appending("gate")
      try await withMount(source) { mount in
        mount.daemon.send(SIGKILL)
        #expect(try await eventually { !mount.daemon.isRunning })
        let arguments = ["\(try Machine.stmount)", "--clear-dead", "\(source)", "\(mount.path)"]
        async let slower = Command.run("env", ["LD_PRELOAD=\(library)", "GATE=\(gate)"] + arguments)
        try #require(try await eventually { (try? Stat(gate)) != nil })
        let faster = try await Command.run("env", arguments)
        #expect(faster.status == 0, "\(faster.error)")
        try #require(unsafe unlink("\(gate)") == 0)
        let refused = try await slower
        #expect(refused.status == EX_CANTCREAT, "\(refused.error)")
        expectSame(try mount.bytes("w"), Self.tensor.data, "w")
        let daemon = try #require(try Daemon(servingAt: mount.path))
        try await Command.output(of: "umount", "\(mount.path)")
        #expect(try await eventually { !daemon.isRunning })
      }
    }

    @Test(
      "A file system that holds the mount point and is unmounted lazily takes the mount along, and the daemon ends"
    )
    func unmountedParent() async throws {
      let outer = try files.makeDirectory("outer")
      try await Command.output(of: "mount", "-t", "tmpfs", "tmpfs", "\(outer)")
      defer { _ = unsafe umount2("\(outer)", Int32(MNT_DETACH)) }
      let mountPoint = try files.makeDirectory("outer/parent/mnt")
      #expect(try await Command.stmount(["\(source)", "\(mountPoint)"]).status == 0)
      let daemon = try #require(try Daemon(servingAt: mountPoint))
      var file: OpenFile? = try OpenFile(mountPoint.appending("w"))
      try await Command.output(of: "umount", "-l", "\(outer)")
      expectSame(try file?.bytes() ?? [], Self.tensor.data, "the open file")
      #expect(daemon.isRunning)
      file = nil
      #expect(try await eventually { !daemon.isRunning })
    }

    @Test(
      "A mount is unmounted in place after its parent directory was renamed, or removed as far as possible")
    func removedParent() async throws {
      let parent = try files.makeDirectory("parent")
      let mountPoint = try files.makeDirectory("parent/mnt")
      #expect(try await Command.stmount(["\(source)", "\(mountPoint)"]).status == 0)
      let daemon = try #require(try Daemon(servingAt: mountPoint))
      #expect(try await Command.run("rm", ["-rf", "\(parent)"]).status != 0)
      expectSame(try OpenFile(mountPoint.appending("w")).bytes(), Self.tensor.data, "w")
      let moved = files.path.appending("moved")
      try #require(unsafe rename("\(parent)", "\(moved)") == 0)
      expectSame(try OpenFile(moved.appending("mnt/w")).bytes(), Self.tensor.data, "w, elsewhere")
      daemon.send(SIGTERM)
      #expect(try await eventually { !daemon.isRunning })
      #expect(try MountInfo.all(at: moved.appending("mnt")).isEmpty)
    }
  }
}
