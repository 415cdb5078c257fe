import Subprocess
import SystemPackage

/// How a command ended, and its output.
struct Outcome: Sendable {
  /// The exit status; after a signal, 128 plus its number, as in a shell.
  var status: Int32
  var output: [UInt8]
  var error: String

  /// Standard output as text, without the last newline.
  var text: String {
    let text = String(decoding: output, as: UTF8.self)
    return text.hasSuffix("\n") ? String(text.dropLast()) : text
  }

  /// The lines of standard error.
  var errorLines: [Substring] { error.split(separator: "\n") }
}

/// The error for a command that should succeed and did not.
struct CommandFailure: Error, CustomStringConvertible {
  let command: [String]
  let outcome: Outcome

  var description: String {
    "\(command.joined(separator: " ")): exit status \(outcome.status), \(outcome.error)"
  }
}

/// Runs commands until they end. A test's time limit ends commands that hang.
enum Command {
  private static let outputLimit = 1 << 24

  /// Runs a program, given by its path or found in PATH. Waits until it has ended and its standard output and error are closed.
  static func run(
    _ name: String, _ arguments: [String], directory: FilePath? = nil, user: UInt32? = nil
  ) async throws -> Outcome {
    let executable = name.contains("/") ? Executable.path(FilePath(name)) : .name(name)
    return try await run(executable, arguments, directory: directory, user: user)
  }

  private static func run(
    _ executable: Executable, _ arguments: [String], directory: FilePath?, user: UInt32?
  ) async throws -> Outcome {
    var options = PlatformOptions()
    if let user {
      options.userID = user
      options.groupID = user
      options.supplementaryGroups = []
    }
    let result = try await Subprocess.run(
      executable, arguments: Arguments(arguments), workingDirectory: directory, platformOptions: options,
      input: .none, output: .bytes(limit: outputLimit), error: .string(limit: outputLimit))
    return Outcome(
      status: result.terminationStatus.shellStatus, output: result.standardOutput, error: result.standardError
    )
  }

  /// Runs the command under test.
  static func stmount(
    _ arguments: [String], directory: FilePath? = nil, user: UInt32? = nil
  ) async throws -> Outcome {
    try Machine.check()
    return try await run(.path(Machine.stmount), arguments, directory: directory, user: user)
  }

  /// Runs another program, which must succeed, and returns its standard output.
  @discardableResult
  static func output(of name: String, _ arguments: String...) async throws -> String {
    try await output(of: name, arguments: arguments)
  }

  /// The same with a list of arguments.
  @discardableResult
  static func output(of name: String, arguments: [String]) async throws -> String {
    let outcome = try await run(name, arguments)
    guard outcome.status == 0 else {
      throw CommandFailure(command: [name] + arguments, outcome: outcome)
    }
    return outcome.text
  }
}

extension TerminationStatus {
  /// The exit status as a shell reports it.
  var shellStatus: Int32 {
    switch self {
    case .exited(let code): code
    case .signaled(let signal): 128 + signal
    }
  }
}
