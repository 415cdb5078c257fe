import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Arguments that are not UTF-8: paths are bytes.
  @Suite struct ArgumentTests {
    private static let model = SafetensorsFile(.init("w", "U8", [5]))
    private static let other = SafetensorsFile(.init("x", "U8", [6]))

    /// Runs a script with three paths of files or directories: `$bad` ends in a byte that is not UTF-8, `$private` in U+10FFFF, and
    /// `$repaired` is what a Unicode decoder makes of `$bad`.
    private func run(_ script: String, _ files: TemporaryDirectory) async throws -> Outcome {
      let preamble = """
        set -u; cd \(files.path); stmount=\(try Machine.stmount); stls=\(try Machine.stls); stpack=\(try Machine.stpack)
        bad=$(printf 'a\\377'); repaired=$(printf 'a\\357\\277\\275'); private=$(printf 'a\\364\\217\\277\\277')
        cp model "$bad"; cp other "$repaired"; cp other "$private"

        """
      return try await Command.run("sh", ["-c", preamble + script])
    }

    private func files() throws -> TemporaryDirectory {
      let files = try TemporaryDirectory()
      try files.write("model", Self.model)
      try files.write("other", Self.other)
      return files
    }

    @Test("stls lists the file that was named")
    func list() async throws {
      let outcome = try await run(#"$stls "$bad"; $stls "$private"; $stls -- "b$bad""#, files())
      #expect(
        outcome.text
          == "w  U8  [5]  5\ntotal 5 in 1 tensor, 1 file\n5 parameters: U8 5\nx  U8  [6]  6\ntotal 6 in 1 tensor, 1 file\n6 parameters: U8 6"
      )
      #expect(
        outcome.error.hasSuffix(#"/ba\xff': cannot open it: No such file or directory"# + "\n")
          || outcome.error == #"stls: 'ba\xff': cannot open it: No such file or directory"# + "\n",
        "\(outcome)")
    }

    @Test("stpack reads and writes the files that were named, also by --output=FILE and in shards")
    func pack() async throws {
      let files = try files()
      let outcome = try await run(
        """
        $stpack "$bad" -o "1$bad" && cmp model "1$bad"
        $stpack "$private" --output="2$private" && cmp other "2$private"
        $stpack "$bad" -fo "$repaired" --rename "s/w/w/" && cmp "$repaired" model
        $stpack "$bad" "$private" -o "$bad.safetensors" --max-shard-size 6
        $stpack "$bad" -o "$bad"
        $stpack "$bad" -o out --include "$bad"
        $stpack "$bad" -o out --metadata "k=$bad"
        $stpack "$bad" -o out --rename "$bad"
        $stpack "$bad" -o out --rename "s/w/$bad/"
        $stpack "$bad" -o out "--$bad"
        ls
        """, files)
      let errors = outcome.error.split(separator: "\n")
      let expected = [
        "must end in .safetensors", #"'a\xff': it exists already"#, #"--include 'a\xff'"#,
        #"--metadata 'k=a\xff'"#,
        #"--rename 'a\xff': expected"#, #"would be called 'a\xff', which is not UTF-8"#, #"--a\xff"#,
      ]
      #expect(errors.count == expected.count, "\(outcome.error)")
      for (error, expected) in zip(errors, expected) { #expect(error.contains(expected), "\(error)") }
      #expect(outcome.output.split(separator: 10).count == 7, "\(outcome.text)")
    }

    @Test("stmount mounts the named files on the named directory, and the mount table and the log show both")
    func mount() async throws {
      let outcome = try await run(
        """
        mkdir "m$bad" "m$repaired"
        $stmount "$bad" "m$bad" && ls "m$bad" && ls "m$repaired"
        grep -c "$(pwd)/$bad $(pwd)/m$bad\\|$(pwd)/m$bad .* $(pwd)/$bad " /proc/self/mountinfo
        $stmount "$bad" "m$bad"
        umount "m$bad"
        $stmount "$bad" "m$bad" -o "fsname=x$bad" && grep -c " x$bad " /proc/self/mountinfo
        umount "m$bad"
        $stmount "$bad" "m$bad" -o "$bad"
        $stmount "$bad" "n$bad"
        """, files())
      #expect(outcome.text == "metadata.json\nw\n1\n1", "\(outcome)")
      let errors = outcome.error.split(separator: "\n")
      let expected = [
        #"ma\xff' already has a mount"#, #"unknown mount option 'a\xff'"#,
        #"na\xff' does not exist"#,
      ]
      #expect(errors.count == expected.count, "\(outcome.error)")
      for (error, expected) in zip(errors, expected) { #expect(error.contains(expected), "\(error)") }
    }
  }
}
