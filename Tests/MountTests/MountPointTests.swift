import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Where a model can be mounted, and where stmount refuses to.
  @Suite struct MountPointTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300_000]), .init("a/b", "U8", [1]))

    private let files: TemporaryDirectory
    private let source: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", Self.model)
    }

    /// Runs the command and expects it to fail. Returns its only line.
    private func refusal(at mountPoint: FilePath, status: Int32 = EX_CANTCREAT) async throws -> String {
      let outcome = try await Command.stmount(["\(source)", "\(mountPoint)"])
      #expect(outcome.status == status, "\(outcome.error)")
      #expect(outcome.output.isEmpty)
      #expect(outcome.errorLines.count == 1 && outcome.error.hasPrefix("stmount: "), "\(outcome.error)")
      return outcome.error
    }

    @Test("A missing mount point is refused, with the command that makes it")
    func missing() async throws {
      let path = files.path.appending("nowhere")
      let message = try await refusal(at: path)
      #expect(message.contains("mkdir '\(path)'"))
    }

    @Test("A file is refused as a mount point")
    func file() async throws {
      let message = try await refusal(at: try files.write("file", text: ""))
      #expect(message.contains("is not a directory"))
      _ = try await refusal(at: files.path.appending("file/below"))
    }

    @Test("A mount point in use is refused with the command that frees it, and its mount goes on")
    func busy() async throws {
      try await withMount(source) { mount in
        let message = try await refusal(at: mount.path)
        #expect(message.contains("fuse.stmount") && message.contains("umount '\(mount.path)'"))
        let table = try MountInfo.all(at: mount.path)
        #expect(table.count == 1)
        expectSame(try mount.bytes("w"), Self.model.tensors[0].data, "w")
      }
    }

    @Test("A mount point that another file system is mounted on is refused")
    func otherMount() async throws {
      let path = try files.makeDirectory("tmpfs")
      try await Command.output(of: "mount", "-t", "tmpfs", "tmpfs", "\(path)")
      defer { _ = unsafe umount2("\(path)", Int32(MNT_DETACH)) }
      let message = try await refusal(at: path)
      #expect(message.contains("tmpfs"))
    }

    @Test(
      "A directory in another mount can be a mount point, although it is read-only")
    func belowAMount() async throws {
      try await withMount(source) { outer in
        let inner = outer.file("a")
        let outcome = try await Command.stmount(["\(source)", "\(inner)"])
        defer { _ = unsafe umount2("\(inner)", Int32(MNT_DETACH)) }
        #expect(outcome.status == 0)
        expectSame(try OpenFile(inner.appending("w")).bytes(), Self.model.tensors[0].data, "w")
        let daemon = try #require(try Daemon(servingAt: inner))
        try await Command.output(of: "umount", "\(inner)")
        #expect(try await eventually { !daemon.isRunning })
        #expect(try outer.bytes("a/b") == Self.model.tensors[1].data)
      }
    }

    @Test(
      "A dead mount is refused with the commands that clear it, and each of them works", arguments: [0, 1])
    func deadMount(choice: Int) async throws {
      try await withMount(source) { mount in
        mount.daemon.send(SIGKILL)
        #expect(try await eventually { !mount.daemon.isRunning })
        #expect(throws: Errno.socketNotConnected) { try Stat(mount.path) }
        let message = try await refusal(at: mount.path)
        #expect(message.contains("dead mount"))
        // … clear it first: COMMAND (or COMMAND)
        let commands = try #require(message.split(separator: "clear it first: ").last)
          .split(separator: " (or ").map { $0.trimmingSuffix { $0 == "\n" || $0 == ")" } }
        try #require(commands.count == 2, "\(message)")
        try await Command.output(of: "sh", "-c", String(commands[choice]))
        #expect(try MountInfo.all(at: mount.path).isEmpty)
        let again = try await Command.stmount(["\(source)", "\(mount.path)"])
        #expect(again.status == 0)
        #expect(try mount.bytes("a/b") == Self.model.tensors[1].data)
        let daemon = try #require(try Daemon(servingAt: mount.path))
        try await Command.output(of: "umount", "\(mount.path)")
        #expect(try await eventually { !daemon.isRunning })
      }
    }

    @Test(
      "A mount point whose daemon does not answer is refused within seconds, with --clear-dead too, and its mount stays",
      arguments: [[], ["--clear-dead"]])
    func hanging(options: [String]) async throws {
      try await withMount(source) { mount in
        mount.daemon.send(SIGSTOP)
        defer { mount.daemon.send(SIGCONT) }
        let outcome = try await Command.run(
          "timeout", ["20", "\(try Machine.stmount)"] + options + ["\(source)", "\(mount.path)"])
        #expect(outcome.status == EX_CANTCREAT, "\(outcome.error)")
        #expect(
          outcome.errorLines.count == 1 && outcome.error.contains("does not answer"), "\(outcome.error)")
        mount.daemon.send(SIGCONT)
        expectSame(try mount.bytes("w"), Self.model.tensors[0].data, "w")
      }
    }

    @Test("A source on a dead mount is refused, and nothing hangs")
    func sourceOnDeadMount() async throws {
      try await withMount(source) { mount in
        mount.daemon.send(SIGKILL)
        #expect(try await eventually { !mount.daemon.isRunning })
        let mountPoint = try files.makeDirectory("mnt")
        let outcome = try await Command.stmount(["\(mount.file("w"))", "\(mountPoint)"])
        #expect(outcome.status == EX_OSERR || outcome.status == EX_NOINPUT)
        #expect(outcome.errorLines.count == 1)
      }
    }

    @Test("A mount point with files works, and the files are visible again after unmounting")
    func notEmpty() async throws {
      try files.write("full/old", text: "old")
      let path = files.path.appending("full")
      let outcome = try await Command.stmount(["\(source)", "\(path)"])
      defer { _ = unsafe umount2("\(path)", Int32(MNT_DETACH)) }
      #expect(outcome.status == 0)
      #expect(throws: Errno.noSuchFileOrDirectory) { try OpenFile(path.appending("old")) }
      let daemon = try #require(try Daemon(servingAt: path))
      try await Command.output(of: "umount", "\(path)")
      #expect(try await eventually { !daemon.isRunning })
      #expect(try OpenFile(path.appending("old")).bytes() == Array("old".utf8))
    }

    @Test(
      "A mount point may be relative, a link, or hold spaces and backslashes",
      arguments: ["link", "a b\\c", "./d/"])
    func oddPaths(name: String) async throws {
      let target = try files.makeDirectory(name == "link" ? "target" : name)
      if name == "link" { try files.makeLink("link", to: "target") }
      let outcome = try await Command.stmount(["m.safetensors", name], directory: files.path)
      defer { _ = unsafe umount2("\(target)", Int32(MNT_DETACH)) }
      #expect(outcome.status == 0)
      expectSame(try OpenFile(target.appending("w")).bytes(), Self.model.tensors[0].data, "w")
      let daemon = try #require(try Daemon(servingAt: FilePath(name)))
      daemon.send(SIGTERM)
      #expect(try await eventually { !daemon.isRunning })
      #expect(throws: Errno.noSuchFileOrDirectory) { try OpenFile(target.appending("w")) }
    }

    @Test("One model can be mounted twice at once; unmounting one leaves the other")
    func twoMounts() async throws {
      try await withMount(source) { one in
        try await withMount(source) { two in
          for mount in [one, two] {
            try expectTree(
              mount.path, ["w": Self.model.tensors[0].data, "a/b": Self.model.tensors[1].data])
          }
          try await one.unmount()
          expectSame(try two.bytes("w"), Self.model.tensors[0].data, "w")
        }
      }
    }
  }
}

extension Substring {
  fileprivate func trimmingSuffix(_ isDropped: (Character) -> Bool) -> Substring {
    self[..<(lastIndex { !isDropped($0) }.map { index(after: $0) } ?? startIndex)]
  }
}
