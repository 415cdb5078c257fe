import SystemPackage

/// The reference programs that tests compare views with.
enum Reference {
  /// The repository's root, found from the path of this file.
  static let root = FilePath("\(#filePath)").removingLastComponent().removingLastComponent()
    .removingLastComponent().removingLastComponent()

  /// The Python that `make test-deps` installs with its packages.
  static let environment = root.appending(".build").appending("python").appending("bin")

  /// Runs a script of Tests/Reference, which must succeed, and returns its standard output.
  @discardableResult
  static func run(_ script: String, _ arguments: String...) async throws -> String {
    let python = environment.appending("python3")
    guard (try? Stat(python)) != nil else {
      throw Machine.Unfit(description: "there is no \(python): run make test-deps")
    }
    let path = root.appending("Tests").appending("Reference").appending(script)
    let outcome = try await Command.run("\(python)", ["\(path)"] + arguments)
    guard outcome.status == 0 else {
      throw CommandFailure(command: [script] + arguments, outcome: outcome)
    }
    return outcome.text
  }
}
