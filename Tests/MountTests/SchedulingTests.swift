import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// How the daemon gets a processor, as `chrt --pid` shows it.
  @Suite struct SchedulingTests {
    private static let large = SafetensorsFile.Tensor("large", "U8", [16 << 20])

    /// SCHED_OTHER and SCHED_BATCH of <linux/sched.h>.
    private enum Policy { static let other = 0, batch = 3 }

    /// The policies of a process's threads: proc_pid_stat(5), field 41.
    private func policies(of daemon: Daemon) throws -> [Int] {
      let tasks = FilePath("/proc/\(daemon.id)/task")
      return try Listing(tasks).rest().compactMap { Int32("\($0.name)") }.map { thread in
        let line = try OpenFile(tasks.appending("\(thread)/stat")).bytes()
        // The name is in parentheses and may hold anything; the state, field 3, comes after it.
        let fields = String(decoding: line, as: UTF8.self).split(separator: ") ").last?.split(separator: " ")
        return try #require(fields.flatMap { $0.count > 38 ? Int($0[38]) : nil })
      }
    }

    @Test("Workers give way to the reader of a stream, and to nobody who reads a little")
    func streams() async throws {
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile([Self.large]))
      try await withMount(source) { mount in
        #expect(try Set(policies(of: mount.daemon)) == [Policy.other])
        _ = try mount.bytes("large")
        #expect(try policies(of: mount.daemon).contains(Policy.batch))
        let file = try OpenFile(mount.file("large"), OpenFile.direct)
        let areBack = try await eventually {
          for block in 0..<100 { _ = try file.alignedBytes(4096, at: block * 4096) }
          return try Set(policies(of: mount.daemon)) == [Policy.other]
        }
        #expect(areBack)
      }
    }

    @Test("A policy that somebody has chosen is left as it is")
    func chosen() async throws {
      try Machine.check()
      let directory = try TemporaryDirectory()
      let source = try directory.write("m.safetensors", SafetensorsFile([Self.large]))
      let path = try directory.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(path)", Int32(MNT_DETACH)) }
      try await Command.output(
        of: "chrt", "--batch", "0", "\(Machine.stmount)", "\(source)", "\(path)")
      let daemon = try #require(try Daemon(servingAt: path))
      _ = try OpenFile(path.appending("large")).bytes()
      do {
        let file = try OpenFile(path.appending("large"), OpenFile.direct)
        for block in 0..<1000 { _ = try file.alignedBytes(4096, at: block * 4096) }
      }
      #expect(try Set(policies(of: daemon)) == [Policy.batch])
      try await Command.output(of: "umount", "\(path)")
      #expect(try await eventually { !daemon.isRunning })
    }
  }
}
