import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Makes random system calls on a mount and on a plain directory of the same files, and expects the same results.
  ///
  /// Each run prints its seed. `oracle -s SEED -n STEPS` with the same trees repeats it.
  @Suite struct OracleTests {
    /// The program, a model, and the directory that a mount of the model must equal.
    private struct Trees {
      let directory: TemporaryDirectory
      let oracle: FilePath
      let source: FilePath
      let plain: FilePath

      init() async throws {
        directory = try TemporaryDirectory()
        oracle = try await CProgram("Oracle").compile()
        source = directory.path.appending("m.safetensors")
        plain = try directory.makeDirectory("plain")
        try await Reference.run("plain.py", "\(source)", "\(plain)")
      }

      /// Compares the mount with the plain directory, which is read-only during the comparison.
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

    /// A change of the plain directory, the difference that the oracle must report, and the command that undoes the change.
    private static let changes: [(change: String, difference: String, undoing: String)] = [
      (
        "cp -p $large ../saved && printf X | dd of=$large bs=1 seek=2000000 conv=notrunc && touch -r ../saved $large",
        "differs at byte", "cp -p ../saved $large"
      ),
      ("printf X >>sizes/4096", "st_size", "truncate -s 4096 sizes/4096 && touch -r sizes/1 sizes/4096"),
      ("mv many/7 many/07", "does not list '07'", "mv many/07 many/7 && touch -r sizes many"),
      ("mv many/7 ../saved", "lists '7'", "mv ../saved many/7 && touch -r sizes many"),
      ("chmod 400 sizes/4096", "st_mode", "chmod 444 sizes/4096"),
      ("touch sizes/4096", "modification time", "touch -r sizes/1 sizes/4096"),
      (
        "setfattr -n user.safetensors.dtype -v U9 sizes/*", "fgetxattr",
        "setfattr -n user.safetensors.dtype -v U8 sizes/*"
      ),
    ]

    @Test("The oracle detects a different byte, size, name, mode and attribute")
    func oracleCanFail() async throws {
      let trees = try await Trees()
      func run(_ command: String) async throws {
        try await Command.output(
          of: "sh", "-c", "cd \"$1\" && large=sizes/5242883 && \(command)", "sh", "\(trees.plain)")
      }
      try await withMount(trees.source) { mount in
        for (change, difference, undoing) in Self.changes {
          try await run(change)
          // The changed byte is in one file among thousands, so the oracle needs many steps to find it.
          let outcome = try await trees.compare(mount, ["-s", "1", "-n", "1000000"])
          #expect(outcome.status == 1 && outcome.error.contains(difference), "\(change): \(outcome.error)")
          #expect(outcome.text.contains("seed 1"))
          try await run(undoing)
        }
        let outcome = try await trees.compare(mount, ["-s", "1", "-n", "1000"])
        #expect(outcome.status == 0, "what was changed is still different: \(outcome.error)")
      }
    }
  }
}
