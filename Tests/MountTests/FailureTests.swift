import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The message and the exit status if the command cannot mount.
  @Suite struct FailureTests {
    private let files: TemporaryDirectory
    private let mountPoint: FilePath
    private let source: FilePath

    init() throws {
      files = try TemporaryDirectory()
      _ = unsafe chmod("\(files.path)", 0o755)
      mountPoint = try files.makeDirectory("mnt")
      source = try files.write("m.safetensors", SafetensorsFile(.init("w", "U8", [100])))
    }

    /// Runs the command and expects it to fail with this status, to print one printable line with all `parts` on standard error, and
    /// to mount nothing.
    private func expectFailure(
      _ status: Int32, _ arguments: [String], saying parts: String..., user: UInt32? = nil,
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let outcome = try await Command.stmount(arguments, directory: files.path, user: user)
      #expect(outcome.status == status, "\(outcome.error)", sourceLocation: sourceLocation)
      #expect(outcome.output.isEmpty, sourceLocation: sourceLocation)
      #expect(
        outcome.errorLines.count == 1 && outcome.error.hasSuffix("\n"), "\(outcome.error)",
        sourceLocation: sourceLocation)
      #expect(outcome.error.hasPrefix("stmount: "), "\(outcome.error)", sourceLocation: sourceLocation)
      #expect(
        outcome.error.unicodeScalars.dropLast().allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F ~= $0.value) },
        "\(outcome.error.debugDescription)", sourceLocation: sourceLocation)
      for part in parts {
        #expect(outcome.error.contains(part), "\(outcome.error)", sourceLocation: sourceLocation)
      }
      #expect(try MountInfo.all(at: mountPoint).isEmpty, sourceLocation: sourceLocation)
    }

    @Test("A wrong command line exits with 64, and with a hint at --help")
    func usage() async throws {
      let lines: [[String]] = [
        [], ["m.safetensors"], ["", "mnt"], ["m.safetensors", ""], ["--frobnicate", "m.safetensors", "mnt"],
        ["-x", "m.safetensors", "mnt"], ["m.safetensors", "mnt", "-o"],
        ["--log-level", "loud", "m.safetensors", "mnt"],
      ]
      for line in lines { try await expectFailure(EX_USAGE, line, saying: "--help") }
    }

    @Test(
      "An unknown mount option, or a wrong value, exits with 64 and is named",
      arguments: [
        "bogus", "rw,bogus,auto", "uid=x", "uid=-1", "uid=", "uid", "gid=4294967296", "umask=8", "umask=1000",
        "exec", "allow_other,allow_root", "fsname", "ro=1",
      ])
    func mountOptions(options: String) async throws {
      let wrong = options.split(separator: ",").first { !["rw", "auto"].contains($0) } ?? ""
      let named = String(wrong.split(separator: "=").first ?? "")
      try await expectFailure(EX_USAGE, ["-o", options, "m.safetensors", "mnt"], saying: named, "--help")
    }

    @Test("Messages about options quote them as they are, once")
    func quoting() async throws {
      try await expectFailure(
        EX_USAGE, ["-o", "bogus", "m.safetensors", "mnt"], saying: "unknown mount option 'bogus'")
      try await expectFailure(EX_USAGE, ["--bogus", "m.safetensors", "mnt"], saying: "'--bogus'")
    }

    @Test("--help and --version print to standard output and succeed")
    func help() async throws {
      let help = try await Command.stmount(["--help"])
      #expect(
        help.status == 0 && help.error.isEmpty && help.text.contains("stmount [OPTIONS] SOURCE... MOUNTPOINT")
      )
      let version = try await Command.stmount(["--version"])
      #expect(version.status == 0 && version.error.isEmpty && version.text.hasPrefix("stmount "))
    }

    @Test("Swapped arguments exit with 64: the message names both and says which comes last")
    func swapped() async throws {
      try files.write("model/model.safetensors", SafetensorsFile(.init("w", "U8", [1])))
      for model in ["m.safetensors", "model"] {
        try await expectFailure(
          EX_USAGE, ["mnt", model],
          saying: "'mnt' is an empty directory, and '\(model)' a model: the mount point comes last")
      }
      try await withMount(files.path.appending("model")) { mount in
        try await expectFailure(
          EX_USAGE, ["\(mount.path)", "m.safetensors"],
          saying: "is a mount, or a copy of one, and 'm.safetensors' a model")
        try await expectFailure(EX_USAGE, ["\(mount.path)", "mnt"], saying: "mount the model itself")
      }
      // A directory without a model can be a mount point; as a source, it has its own message.
      try files.makeDirectory("other")
      try await expectFailure(EX_NOINPUT, ["mnt", "other"], saying: "no .safetensors file")
    }

    @Test("A source that does not exist, or cannot be mounted, exits with 66")
    func noSource() async throws {
      try await expectFailure(EX_NOINPUT, ["nowhere.safetensors", "mnt"], saying: "'nowhere.safetensors'")
      try await expectFailure(EX_NOINPUT, ["m.safetensors", "nowhere.safetensors", "mnt"], saying: "nowhere")
      try await expectFailure(EX_NOINPUT, ["m.safetensors/x", "mnt"], saying: "m.safetensors/x")
      try files.makeLink("dangling.safetensors", to: "nowhere")
      try await expectFailure(EX_NOINPUT, ["dangling.safetensors", "mnt"], saying: "dangling")
      try files.makeDirectory("empty")
      try await expectFailure(EX_NOINPUT, ["empty", "mnt"], saying: "no .safetensors file")
      try await expectFailure(EX_NOINPUT, ["/dev/null", "mnt"], saying: "device")
    }

    @Test(
      "A FIFO is refused at once, though nobody writes to it: by itself, in a directory, or named by an index"
    )
    func fifo() async throws {
      try files.makeFIFO("pipe.safetensors")
      try await expectFailure(EX_NOINPUT, ["pipe.safetensors", "mnt"], saying: "FIFO")
      try files.makeFIFO("dir/model.safetensors")
      try await expectFailure(EX_NOINPUT, ["dir", "mnt"], saying: "FIFO")
      try files.makeFIFO("pipe.safetensors.index.json")
      try await expectFailure(EX_NOINPUT, ["pipe.safetensors.index.json", "mnt"], saying: "FIFO")
      try files.write("set/model.safetensors.index.json", ShardIndex(["w": "shard.safetensors"]))
      try files.makeFIFO("set/shard.safetensors")
      try await expectFailure(EX_DATAERR, ["set", "mnt"], saying: "FIFO", "shard.safetensors")
    }

    @Test("A broken model exits with 65, and with the problem and the remedy")
    func malformed() async throws {
      let sound = SafetensorsFile(.init("w", "F32", [100]))
      let broken: [(String, [UInt8], String)] = [
        ("empty", [], "this file is empty"),
        ("short", [1, 2, 3], "3 bytes"),
        ("truncated", Array(sound.bytes.dropLast(10)), "truncated by 10 bytes"),
        ("truncated-header", Array(sound.bytes.prefix(20)), "truncated"),
        ("trailing", sound.bytes + [0, 0], "--lenient"),
        ("not-json", SafetensorsFile(header: "{nonsense").bytes, "byte"),
        (
          "lfs", Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".utf8),
          "git lfs pull"
        ),
        ("html", Array("<!DOCTYPE html>\n<html><body>Sign in</body></html>".utf8), "HTML"),
        ("zip", Array("PK\u{3}\u{4}".utf8) + Array(repeating: 9, count: 100), "zip"),
      ]
      for (name, bytes, reason) in broken {
        try files.write("\(name).safetensors", bytes)
        try await expectFailure(EX_DATAERR, ["\(name).safetensors", "mnt"], saying: name, reason)
      }
    }

    @Test("A broken sharded set exits with 65, and names the shard or the tensor")
    func malformedSet() async throws {
      let shard = SafetensorsFile(.init("w", "U8", [3]))
      try files.write(
        "a/model.safetensors.index.json", ShardIndex(["w": "one.safetensors", "v": "two.safetensors"]))
      try files.write("a/one.safetensors", shard)
      try await expectFailure(EX_DATAERR, ["a", "mnt"], saying: "two.safetensors", "missing", "'v'")
      try files.write("a/two.safetensors", SafetensorsFile(.init("other", "U8", [3])))
      try await expectFailure(EX_DATAERR, ["a", "mnt"], saying: "two.safetensors", "'v'")
      try files.write("b/model-00001-of-00002.safetensors", shard)
      try await expectFailure(EX_DATAERR, ["b", "mnt"], saying: "part 2 of 2")
      try files.write("x.safetensors", shard)
      try files.write("y.safetensors", shard)
      try await expectFailure(
        EX_DATAERR, ["x.safetensors", "y.safetensors", "mnt"], saying: "'w'", "y.safetensors")
      try files.write("c/model.safetensors.index.json", ShardIndex(["w": "../m.safetensors"]))
      try await expectFailure(EX_DATAERR, ["c", "mnt"], saying: "../m.safetensors")
    }

    @Test("Names and paths from strangers cannot act on the terminal")
    func hostileText() async throws {
      let escape = "\u{1B}[31m\u{7}\u{9B}2J\r\n\u{202E}"
      let header = #"{"\u001b[31m\u0007\u009b\n":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}}"#
      try files.write("name.safetensors", SafetensorsFile(header: header, data: [1, 2, 3]))
      try await expectFailure(EX_DATAERR, ["name.safetensors", "mnt"], saying: #"\u{1b}[31m"#)
      try await expectFailure(EX_NOINPUT, [escape, "mnt"], saying: #"\u{1b}[31m"#)
      try await expectFailure(EX_CANTCREAT, ["m.safetensors", escape], saying: #"\u{1b}[31m"#)
      try await expectFailure(EX_USAGE, ["-o", escape, "m.safetensors", "mnt"], saying: #"\u{1b}[31m"#)
      try await expectFailure(EX_USAGE, ["--" + escape, "m.safetensors", "mnt"], saying: #"\u{1b}[31m"#)
      try await expectFailure(
        EX_USAGE, ["--log-level", escape, "m.safetensors", "mnt"], saying: #"\u{1b}[31m"#)
      try files.write("odd/" + escape + ".safetensors", text: "short")
      try await expectFailure(EX_DATAERR, ["odd", "mnt"], saying: #"\u{1b}[31m"#)
    }

    @Test("A source or a mount point that the user cannot reach exits with 77")
    func notPermitted() async throws {
      // Other users may not be able to reach the directory of the built command.
      let space = try PrivateNamespace(model: SafetensorsFile(.init("w", "U8", [3])))
      let directory = space.directory
      let closed = try directory.makeDirectory("closed")
      try directory.write("closed/m.safetensors", SafetensorsFile(.init("w", "U8", [3])))
      try directory.makeDirectory("closed/mnt")
      try #require(unsafe chmod("\(closed)", 0o700) == 0)
      try directory.write("set/model.safetensors.index.json", ShardIndex(["w": "shard.safetensors"]))
      let shard = try directory.write("set/shard.safetensors", SafetensorsFile(.init("w", "U8", [3])))
      try #require(unsafe chmod("\(shard)", 0o600) == 0)
      let cases = [
        ("closed", "mnt"), ("closed/m.safetensors", "mnt"), ("set", "mnt"), ("m.safetensors", "closed/mnt"),
      ]
      for (source, mountPoint) in cases {
        let outcome = try await Command.run(
          "\(directory.path.appending("bin/stmount"))", [source, mountPoint], directory: directory.path,
          user: PrivateNamespace.nobody)
        #expect(outcome.status == EX_NOPERM, "\(source): \(outcome.error)")
        #expect(outcome.errorLines.count == 1 && outcome.error.hasPrefix("stmount: "))
      }
    }

    @Test("A failure in the foreground is the same failure")
    func foreground() async throws {
      try await expectFailure(EX_NOINPUT, ["-f", "nowhere.safetensors", "mnt"], saying: "nowhere")
      try await expectFailure(EX_CANTCREAT, ["-f", "m.safetensors", "nowhere"], saying: "nowhere")
    }
  }
}
