import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Random system calls on a mount and on a plain directory of the same files, which have to give the same results.
  ///
  /// Each run has a seed of its own, which it prints: `oracle -s SEED -n STEPS` on the same trees repeats it.
  @Suite struct OracleTests {
    /// The program, a model, and the directory that its mount has to equal.
    private struct Trees {
      let directory: TemporaryDirectory
      let oracle: FilePath
      let source: FilePath
      let plain: FilePath

      init() async throws {
        directory = try TemporaryDirectory()
        oracle = try await CProgram("Oracle").compile(in: directory)
        source = directory.path.appending("m.safetensors")
        plain = try directory.makeDirectory("plain")
        try await Reference.run("plain.py", "\(source)", "\(plain)")
      }

      /// Compares the mount with the plain directory, which is read-only meanwhile.
      func compare(_ mount: MountedModel, _ options: [String]) async throws -> Outcome {
        try await Command.output(of: "mount", "-o", "bind,ro", "\(plain)", "\(plain)")
        defer { _ = unsafe umount2("\(plain)", Int32(MNT_DETACH)) }
        return try await Command.run("\(oracle)", options + ["-c", "\(source)", "\(mount.path)", "\(plain)"])
      }
    }

    @Test("A mount answers all system calls in any order as a plain directory does")
    func oracle() async throws {
      let trees = try await Trees()
      for options in ["io=auto", "io=mmap", "io=copy", "direct_io"] {
        try await withMount(trees.source, options: ["-o", options]) { mount in
          let outcome = try await trees.compare(mount, ["-t", "3"] + (options == "direct_io" ? ["-D"] : []))
          print("\(options): \(outcome.text)")
          #expect(outcome.status == 0, "\(options): \(outcome.text)\n\(outcome.error)")
        }
      }
    }

    @Test(
      "The oracle detects a different byte, size, name, mode and attribute",
      arguments: [
        (
          "printf X | dd of=sizes/5242883 bs=1 seek=2000000 conv=notrunc && touch -r sizes/1 sizes/5242883",
          "differs at byte"
        ),
        ("printf X >>sizes/4096", "st_size"), ("mv many/7 many/07", "does not list '07'"),
        ("rm many/7", "lists '7'"), ("chmod 400 sizes/4096", "st_mode"),
        ("touch sizes/4096", "modification time"),
        ("setfattr -n user.safetensors.dtype -v U9 sizes/*", "fgetxattr"),
      ])
    func oracleCanFail(change: String, difference: String) async throws {
      let trees = try await Trees()
      try await withMount(trees.source) { mount in
        try await Command.output(of: "sh", "-c", "cd \"$1\" && \(change)", "sh", "\(trees.plain)")
        // One file among thousands: it takes a while until the changed byte is met.
        let outcome = try await trees.compare(mount, ["-s", "1", "-n", "1000000"])
        #expect(outcome.status == 1 && outcome.error.contains(difference), "\(outcome.error)")
        #expect(outcome.text.contains("seed 1"))
      }
    }
  }
}
