import Glibc
import SystemPackage

/// A program in C that tests run: what Swift cannot say well, such as fork(2), or what must cost little beside what it
/// watches.
struct CProgram {
  private let name: String
  private let libraries: [String]

  /// The program whose sources are in this directory of Tests, and which needs some libraries.
  init(_ name: String, libraries: String...) {
    self.name = name
    self.libraries = libraries.map { "-l\($0)" }
  }

  /// Compiles it, with every warning an error, and returns its path, beside the test bundle. What was compiled after the last change of
  /// its sources stays.
  func compile() async throws -> FilePath {
    let sources = Machine.repository.appending("Tests").appending(name)
    let files = try Listing(sources).rest().map(\.name).filter { ["c", "h"].contains($0.extension) }.map {
      sources.appending($0.components)
    }
    let program = try Machine.products.appending("test-\(name)")
    let compiled = (try? Stat(program))?.st_mtim.tv_sec ?? 0
    if try files.allSatisfy({ try Stat($0).st_mtim.tv_sec < compiled }) { return program }
    let arguments = files.filter { $0.extension == "c" }.map { "\($0)" } + libraries
    let outcome = try await Command.run(
      "cc", ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", "\(program).new"] + arguments)
    guard outcome.status == 0 else { throw CommandFailure(command: ["cc"] + arguments, outcome: outcome) }
    guard unsafe rename("\(program).new", "\(program)") == 0 else { throw Errno(rawValue: errno) }
    return program
  }
}
