import Fixtures
import SystemPackage
import Testing

/// Runs stpack(1).
enum Packing {
  /// Runs it with these arguments.
  static func run(_ arguments: [String]) async throws -> Outcome {
    try await Command.run("\(Machine.stpack)", arguments)
  }

  /// Packs inputs. Expects success and no output, and returns the bytes of the packed file.
  static func pack(
    _ inputs: FilePath..., options: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
  )
    async throws -> [UInt8]
  {
    let directory = try TemporaryDirectory()
    let output = directory.path.appending("packed.safetensors")
    let outcome = try await run(inputs.map { "\($0)" } + ["-o", "\(output)"] + options)
    #expect(
      outcome.status == 0 && outcome.error.isEmpty && outcome.output.isEmpty, "\(outcome)",
      sourceLocation: sourceLocation)
    return try OpenFile(output).bytes(step: 1 << 22)
  }

  /// Expects a command to fail with a status, to print one line with all of `words`, and to leave only the files that were in the
  /// directory before.
  static func expectFailure(
    _ arguments: [String], in directory: TemporaryDirectory, status: Int32, says words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let before = try Walk(directory.path).files
    let outcome = try await run(arguments)
    #expect(outcome.status == status, "\(outcome)", sourceLocation: sourceLocation)
    #expect(
      outcome.errorLines.count == 1 && outcome.output.isEmpty, "\(outcome)", sourceLocation: sourceLocation)
    for word in words {
      #expect(outcome.error.contains(word), "'\(word)' in: \(outcome.error)", sourceLocation: sourceLocation)
    }
    expectSamePaths(try Walk(directory.path).files, before, sourceLocation: sourceLocation)
  }
}

extension SafetensorsFile {
  /// The file with its tensors in the order of the reference writer: by dtype, from the end of the format's list, and then by
  /// name.
  var asReferenceWrites: SafetensorsFile {
    let order = TensorData.bitSizes.map(\.key)
    func rank(_ tensor: Tensor) -> Int { -(order.firstIndex(of: tensor.dtype) ?? 0) }
    var file = self
    file.tensors.sort {
      rank($0) == rank($1) ? $0.name.lexicographicallyPrecedes($1.name) : rank($0) < rank($1)
    }
    file.dataOrder = nil
    file.padding = nil
    return file
  }
}
