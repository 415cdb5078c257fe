import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The outputs of stpack(1): files, targets of links, and streams.
  @Suite struct PackOutputTests {
    private static let model = SafetensorsFile(.init("a", "F32", [3]), .init("b", "U8", [1]))
    private static let packed = model.asReferenceWrites.bytes

    @Test("A symbolic link stays, and the file that it leads to is replaced only with --force")
    func links() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let target = try files.write("far/target", text: "precious")
      try files.makeLink("far/second", to: "target")
      let link = try files.makeLink("near/link", to: "../far/second")
      let refused = try await Packing.run(["\(source)", "-o", "\(link)"])
      #expect(refused.status == 73 && refused.error.contains("it exists already; --force"), "\(refused)")
      #expect(try OpenFile(target).bytes() == Array("precious".utf8))
      let outcome = try await Packing.run(["\(source)", "-fo", "\(link)"])
      #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome)")
      #expect(try Stat(link, followTargetSymlink: false).type == .symbolicLink)
      expectSame(try OpenFile(target).bytes(), Self.packed, "the file")
      #expect(try await Command.output(of: "ls", "-A", "\(files.path)/far") == "second\ntarget")
    }

    @Test("A dangling link gets its file; a link to itself is refused")
    func danglingLinks() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let link = try files.makeLink("link", to: "new")
      let outcome = try await Packing.run(["\(source)", "-o", "\(link)"])
      #expect(outcome.status == 0, "\(outcome)")
      expectSame(try OpenFile(files.path.appending("new")).bytes(), Self.packed, "the file")
      #expect(try Stat(link, followTargetSymlink: false).type == .symbolicLink)
      let loop = try files.makeLink("loop", to: "loop")
      let refused = try await Packing.run(["\(source)", "-fo", "\(loop)"])
      #expect(refused.status == 73 && refused.errorLines.count == 1, "\(refused)")
    }

    @Test("Devices, FIFOs, directories and links to them are never replaced", arguments: ["", "link"])
    func special(name: String) async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let fifo = try files.makeFIFO("fifo")
      try await Command.output(of: "mknod", "\(files.path)/null", "c", "1", "3")
      try files.makeDirectory("directory")
      for target in [files.path.appending("null"), fifo, files.path.appending("directory")] {
        let before = try Stat(target)
        let path =
          try name.isEmpty ? target : files.makeLink("\(name).\(before.inode.rawValue)", to: "\(target)")
        let outcome = try await Packing.run(["\(source)", "-fo", "\(path)"])
        #expect(outcome.status == 73 && outcome.error.contains("not a regular file"), "\(outcome)")
        #expect(try Stat(target).inode == before.inode && Stat(target).type == before.type)
      }
    }

    @Test("--force keeps the mode and the owner of the file that it replaces")
    func mode() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try files.makeDirectory("out")
      for hasName in [false, true] {
        let output = try files.write("out/o", text: "secret")
        try output.setPermissions(0o640)
        try #require(unsafe chown("\(output)", 9, 10) == 0)
        // bindfs(1) does not support files without a name.
        let mount = hasName ? "bindfs \(files.path)/out \(files.path)/out" : ":"
        try await Command.output(
          of: "unshare", "--mount", "sh", "-c",
          "\(mount) && umask 077 && \(Machine.stpack) \(source) -fo \(output)")
        let status = try Stat(output)
        #expect(status.permissions.rawValue == 0o640)
        #expect(status.userID.rawValue == 9 && status.groupID.rawValue == 10)
        expectSame(try OpenFile(output).bytes(), Self.packed, "the file")
      }
    }

    @Test(
      "-o - and -o /dev/stdout write to standard output, a pipe or a file, and replace nothing",
      arguments: ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
    func standardOutput(name: String) async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let device = try Stat(FilePath("/dev/stdout"), followTargetSymlink: false)
      for options in [[], ["-f"]] {
        let outcome = try await Packing.run(["\(source)", "-o", name] + options)
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.status) \(outcome.error)")
        expectSame(outcome.output, Self.packed, "the stream")
      }
      try await Command.output(
        of: "sh", "-c",
        "echo before >\(files.path)/out; \(Machine.stpack) \(source) -o \(name) >>\(files.path)/out")
      expectSame(
        try OpenFile(files.path.appending("out")).bytes(), Array("before\n".utf8) + Self.packed, "the file")
      #expect(try Stat(FilePath("/dev/stdout"), followTargetSymlink: false).inode == device.inode)
      expectSamePaths(try Walk(files.path).files, ["m.safetensors", "out"])
    }

    @Test("A long model goes completely into a pipe; if the reader ends early, stpack ends without a message")
    func pipe() async throws {
      let files = try TemporaryDirectory()
      let long = SafetensorsFile(.init("a", "U8", [9 << 20]), .init("b", "F32", [3 << 20]))
      let source = try files.write("m.safetensors", long)
      let script = """
        \(try Machine.stpack) \(source) -o - | cmp - \(try files.write("e", long.asReferenceWrites.bytes)) && echo same
        { \(try Machine.stpack) \(source) -o -; echo $? >&2; } | head -c 9
        """
      let outcome = try await Command.run("sh", ["-c", script])
      #expect(outcome.error == "141\n", "\(outcome)")
      #expect(outcome.output.starts(with: "same\n".utf8))
    }

    @Test("A terminal gets bytes only with --force; shards cannot be a stream; a full device is an error")
    func refusedStreams() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let terminal = try await Command.run(
        "script", ["-qec", "\(Machine.stpack) \(source) -o -", "/dev/null"])
      #expect(terminal.status == 64 && terminal.text.contains("standard output is a terminal"), "\(terminal)")
      try await Packing.expectFailure(
        ["\(source)", "-o", "-", "--max-shard-size", "5"], in: files, status: 64,
        says: "whose name must end in .safetensors")
      let full = try await Command.run("sh", ["-c", "\(Machine.stpack) \(source) -o - >/dev/full"])
      #expect(full.status == 71, "\(full)")
      #expect(full.error == "stpack: standard output: cannot write it: No space left on device\n")
    }

    @Test("On a read-only file system, stpack and stunpack say so, and do not mention free space")
    func readOnly() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      let place = try files.makeDirectory("tmpfs")
      try await Command.output(of: "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "\(place)")
      defer { _ = unsafe umount2("\(place)", Int32(MNT_DETACH)) }
      // A mount of stmount is read-only, and reports no free space.
      try await withMount(source) { mount in
        for directory in [place, mount.path] {
          for (command, arguments) in [
            ("stpack", ["-o", "\(directory)/out.safetensors"]), ("stunpack", ["\(directory)/out"]),
          ] {
            let outcome = try await Command.run("\(Machine.link(command))", ["\(source)"] + arguments)
            #expect(outcome.status == 73 && outcome.errorLines.count == 1, "\(outcome)")
            #expect(outcome.error.hasSuffix("Read-only file system\n"), "\(outcome.error)")
          }
        }
      }
    }

    @Test("Shards follow links; a missing directory is named")
    func directories() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try files.makeDirectory("other")
      try files.makeLink("n-00002-of-00002.safetensors", to: "other/second")
      let shards = try await Packing.run(
        ["\(source)", "-o", "\(files.path)/n.safetensors", "--max-shard-size", "12"])
      #expect(shards.status == 0, "\(shards)")
      expectSame(
        try OpenFile(files.path.appending("other/second")).bytes(),
        SafetensorsFile(Self.model.tensors[1]).bytes, "the second shard")
      let nowhere = try await Packing.run(["\(source)", "-o", "\(files.path)/none/deep/out"])
      #expect(nowhere.status == 73 && nowhere.errorLines.count == 1, "\(nowhere)")
      #expect(nowhere.error.contains("/none/deep' does not exist; create it first: mkdir -p"), "\(nowhere)")
    }
  }
}
