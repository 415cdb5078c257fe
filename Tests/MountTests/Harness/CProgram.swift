import Glibc
import SystemPackage

/// A test program in C, for what Swift cannot express well, such as fork(2), or for work that must cost little compared with
/// what it measures.
struct CProgram {
  private let name: String
  private let libraries: [String]

  /// A program with its sources in this directory of Tests, linked with these libraries.
  init(_ name: String, libraries: String...) {
    self.name = name
    self.libraries = libraries.map { "-l\($0)" }
  }

  /// Compiles the program, with warnings as errors, and returns its path, beside the test bundle. Compiles it only if its sources
  /// have changed since the last time.
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
