public import ArgumentParser
internal import Glibc

extension ParsableCommand {
  /// Parses the command line and runs `body`; every failure is one line on standard error, and the exit status.
  public static func run(_ body: (Self) throws(Failure) -> Void) {
    // A reader such as head(1) that has seen enough ends this like any other command.
    signal(SIGPIPE, SIG_DFL)
    let name = configuration.commandName ?? ""
    let command: Self
    do {
      command = try parse()
    } catch {
      // --help and --version come this way too, and have more than a line to say.
      guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
      Failure.usage(message(for: error), command: name).end(name)
    }
    do throws(Failure) {
      try body(command)
    } catch {
      error.end(name)
    }
  }
}

extension Failure {
  fileprivate func end(_ command: String) -> Never {
    printError(message, command: command)
    Glibc.exit(status)
  }
}
