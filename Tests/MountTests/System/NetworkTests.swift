import SystemPackage
import Testing

extension MountTests {
  /// Models on the stores of Benchmarks/network, which run on this machine. Reads return the stored bytes.
  @Suite struct NetworkTests {
    @Test(
      "A model on a slow file system, over ssh, http and S3",
      arguments: ["delay", "sshfs", "http", "http-cached", "s3", "s3fs"])
    func store(name: String) async throws {
      try Machine.check()
      let output = try await Command.output(
        of: "\(Machine.repository.appending("Benchmarks/network/run"))", "--check", "--size", "8", "--delay",
        "4",
        "--store", name, "--binary", "\(Machine.stmount)")
      #expect(output == "\(name): same")
    }
  }
}
