import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// A few seconds of the load test that `make load` runs for many minutes.
  @Suite struct LoadTests {
    /// Compiles the program, and makes a model of `mebibytes` MiB.
    private func prepare(
      _ size: Int, in directory: TemporaryDirectory
    ) async throws -> (load: FilePath, source: FilePath) {
      let load = try await CProgram("Load").compile()
      let source = directory.path.appending("m.safetensors")
      try await Command.output(of: "\(load)", "make", "\(source)", "\(size)")
      return (load, source)
    }

    @Test(
      "64 readers of two mounts get every byte, some die in mid-read, and the daemons hold no more than before"
    )
    func load() async throws {
      let directory = try TemporaryDirectory()
      let (load, source) = try await prepare(64, in: directory)
      try await withMount(source) { first in
        try await withMount(source) { second in
          let outcome = try await Command.run(
            "\(load)",
            [
              "run", "-m", "64", "-t", "8", "-c", "2000", "-d", "500", "-p", "\(first.daemon.id)", "-p",
              "\(second.daemon.id)", "\(first.path)", "\(second.path)",
            ])
          #expect(outcome.status == 0, "\(outcome.text)\n\(outcome.error)")
        }
      }
    }

    @Test("The load detects a wrong byte")
    func loadCanFail() async throws {
      let directory = try TemporaryDirectory()
      let (load, source) = try await prepare(8, in: directory)
      // This byte is in the middle of the largest tensor, which has half of all bytes.
      try await Command.output(
        of: "sh", "-c", "printf XX | dd of=\"$1\" bs=1 seek=2097152 conv=notrunc", "sh", "\(source)")
      try await withMount(source) { mount in
        let outcome = try await Command.run(
          "\(load)", ["run", "-m", "8", "-t", "60", "-c", "10", "-d", "10", "\(mount.path)"])
        #expect(outcome.status == 1 && outcome.error.contains("in place of"), "\(outcome.error)")
      }
    }

    @Test("The load detects a growing number of descriptors, and tolerates one that soon falls")
    func loadSeesLeaks() async throws {
      let directory = try TemporaryDirectory()
      let (load, source) = try await prepare(8, in: directory)
      let keeping = "while :; do exec {fd}</dev/null; sleep 0.05; done"
      let closing = """
        for ((n = 10;; n += 2)); do
          fds=(); for ((i = 0; i < n; i++)); do exec {fd}</dev/null; fds+=($fd); done; sleep 0.02
          for fd in ${fds[@]}; do exec {fd}<&-; done; sleep 0.02
        done
        """
      let watched = """
        bash -c "$1" & "$2" run -m 8 -t 4 -r 4 -c 10 -d 10 -p $! "$3"
        status=$?; kill $!; exit $status
        """
      try await withMount(source) { mount in
        for (script, status) in [(keeping, 1), (closing, 0)] {
          let outcome = try await Command.run(
            "bash", ["-c", watched, "bash", script, "\(load)", "\(mount.path)"])
          #expect(outcome.status == status, "\(script)\n\(outcome.text)\n\(outcome.error)")
          #expect(outcome.text.contains("holds more at the end") == (status == 1))
        }
      }
    }
  }
}
