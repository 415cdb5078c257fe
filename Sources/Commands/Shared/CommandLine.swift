import ArgumentParser
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage

extension ParsableCommand {
  /// Parses the command line and runs `body`; a failure prints one line on standard error. The exit status is `trouble` if
  /// given, otherwise the failure's own.
  static func run(
    _ arguments: [String] = Array(CalledCommand.arguments), trouble: Int32? = nil,
    _ body: (Self) throws(Failure) -> Void
  ) {
    let name = configuration.commandName ?? ""
    let command: Self
    do {
      command = try parse(arguments)
    } catch {
      // --help and --version are errors to the parser too, and print more than one line.
      guard exitCode(for: error) == .validationFailure else {
        guard exitCode(for: error) == .success else { exit(withError: error) }
        var text = fullMessage(for: error)
        if arguments.contains(where: { $0.hasPrefix(CompletionScript.option) }) {
          text = CompletionScript.corrected(text)
        }
        do throws(Failure) {
          try StandardOutput.write(Array((text + "\n").utf8))
        } catch {
          error.end(name, trouble)
        }
        Glibc.exit(EX_OK)
      }
      // The parser's sentences end in a full stop, and a remedy follows.
      // Of alternatives (`-o` and `--output`), each has a line.
      var problem = String(message(for: error).prefix { !$0.isNewline })
      if problem.hasSuffix(".") { problem.removeLast() }
      problem = ownOption(meantBy: arguments, problem) ?? problem
      Failure.usage(problem, command: name).end(name, trouble)
    }
    do throws(Failure) {
      try body(command)
    } catch {
      error.end(name, trouble)
    }
  }
}

extension ParsableCommand {
  /// The problem with an unknown option that is nearly `--help` or `--version`: the parser suggests neither.
  private static func ownOption(meantBy arguments: [String], _ problem: String) -> String? {
    for argument in arguments where problem.hasPrefix("Unknown option '\(argument)'") {
      let own = ["--help", "--version"].map { Array($0.utf8)[...] }
      guard let nearest = NearestNames.nearest(to: argument.argumentBytes, among: own), nearest.distance <= 2
      else {
        continue
      }
      return "Unknown option '\(argument)'. Did you mean '\(String(decoding: nearest.name, as: UTF8.self))'?"
    }
    return nil
  }
}

extension FilePath {
  /// The path that an argument names, byte by byte.
  init(argument: String) { self.init(bytes: argument.argumentBytes) }
}

extension Failure {
  /// Prints the message, and ends the command with `trouble` if given, otherwise with the status.
  func end(_ command: String, _ trouble: Int32? = nil) -> Never {
    printError(message, command: command)
    Glibc.exit(trouble ?? status)
  }
}
