import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// A few seconds of what `make load` does for many minutes.
  @Suite struct LoadTests {
    @Test(
      "64 readers of two mounts get every byte, some die in mid-read, and the daemons hold no more than before"
    )
    func load() async throws {
      let directory = try TemporaryDirectory()
      let load = try await CProgram("Load").compile(in: directory)
      let source = directory.path.appending("m.safetensors")
      try await Command.output(of: "\(load)", "make", "\(source)", "64")
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

    @Test("The load sees a wrong byte")
    func loadCanFail() async throws {
      let directory = try TemporaryDirectory()
      let load = try await CProgram("Load").compile(in: directory)
      let source = directory.path.appending("m.safetensors")
      try await Command.output(of: "\(load)", "make", "\(source)", "8")
      // In the middle of the largest tensor, which has half of the bytes.
      try await Command.output(
        of: "sh", "-c", "printf XX | dd of=\"$1\" bs=1 seek=2097152 conv=notrunc", "sh", "\(source)")
      try await withMount(source) { mount in
        let outcome = try await Command.run(
          "\(load)", ["run", "-m", "8", "-t", "60", "-c", "10", "-d", "10", "\(mount.path)"])
        #expect(outcome.status == 1 && outcome.error.contains("in place of"), "\(outcome.error)")
      }
    }
  }
}
