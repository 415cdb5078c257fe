import Fixtures
import SystemPackage

/// A program in C that tests run: what Swift cannot say well, such as fork(2), or what must cost little beside what it
/// watches.
struct CProgram {
  private let sources: FilePath
  private let libraries: [String]

  /// The program whose sources are in this directory of Tests, and which needs some libraries.
  init(_ name: String, libraries: String...) {
    sources = Machine.repository.appending("Tests").appending(name)
    self.libraries = libraries.map { "-l\($0)" }
  }

  /// Compiles it, with every warning an error, and returns its path.
  func compile(in directory: TemporaryDirectory) async throws -> FilePath {
    let program = directory.path.appending("program")
    let files = try Listing(sources).rest().map(\.name).filter { $0.extension == "c" }
    let arguments = files.map { "\(sources.appending($0.components))" } + libraries
    let outcome = try await Command.run(
      "cc", ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", "\(program)"] + arguments)
    guard outcome.status == 0 else { throw CommandFailure(command: ["cc"] + arguments, outcome: outcome) }
    return program
  }
}
