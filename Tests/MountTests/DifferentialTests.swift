import Testing

extension CommandTests {
  /// Compares this reader with the reference on randomly changed files. `make differential` compares more of them.
  @Suite struct DifferentialTests {
    @Test(
      "Changed files are accepted and refused as the reference does, with the same tensors and metadata",
      arguments: [1, 2])
    func mutants(seed: Int) async throws {
      let output = try await Reference.run("differential.py", "\(Machine.verdicts)", "10000", "\(seed)")
      #expect(
        output.hasPrefix("10000 files, seed \(seed): 0 differences that are not declared\n"), "\(output)")
      // The lines are a header, the four declared kinds of agreement, and the two kinds that need no declaration.
      #expect(output.split(separator: "\n").count == 7, "\(output)")
    }

    @Test("The comparison detects a reader that refuses one more name")
    func control() async throws {
      let error = await #expect(throws: CommandFailure.self) {
        try await Reference.run("differential.py", "\(Machine.verdicts)", "1000", "1", "300")
      }
      #expect(error?.outcome.text.contains("refused as TooLong, and the reference accepts it") == true)
    }
  }
}
