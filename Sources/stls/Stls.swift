import ArgumentParser
import Command
import Glibc
import Safetensors
import SystemPackage
import TensorFS

/// The command line of stls(1).
@main struct Stls: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stls",
    abstract: "List the tensors of a safetensors model: name, dtype, shape, size.",
    usage: "stls [OPTIONS] SOURCE...",
    discussion: """
      SOURCE is what stmount takes: a .safetensors file or one of PyTorch, several of them, an index of shards, or \
      a directory. Only headers are read. The exit status says whether the model is sound: 0, 65 if it is broken, \
      66 if there is none.
      """,
    version: "stls \(stmountVersion)",
    helpNames: .long)

  enum Order: String, ExpressibleByArgument, CaseIterable {
    case name, size, offset
  }

  @Argument(help: ArgumentHelp("What to list.", valueName: "SOURCE"))
  var sources: [String] = []

  @Flag(name: [.customShort("h"), .customLong("human-readable")], help: "Sizes like 1.5K, 234M, 2.0G.")
  var isHuman = false

  @Option(help: "Order by name, size (largest first) or offset (as in the files).")
  var sort = Order.name

  @Flag(help: "Print what metadata.json of the mount would hold.")
  var json = false

  @Flag(name: .shortAndLong, help: "Print nothing but errors: is the model sound?")
  var quiet = false

  @Flag(help: "Accept bytes after a file's last tensor, with a warning.")
  var lenient = false

  /// Parses, runs and exits; every failure is one line on standard error.
  static func main() {
    // A reader such as head(1) that has seen enough ends this like any other command.
    signal(SIGPIPE, SIG_DFL)
    do {
      try parse().list()
    } catch let failure as Failure {
      printError(failure.message, command: "stls")
      Glibc.exit(failure.status)
    } catch {
      // --help and --version come this way too, and have more than a line to say.
      guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
      let failure = Failure.usage(message(for: error), command: "stls")
      printError(failure.message, command: "stls")
      Glibc.exit(failure.status)
    }
  }

  private func list() throws(Failure) {
    guard !sources.isEmpty, !sources.contains("") else {
      throw .usage("give at least one source", command: "stls")
    }
    let collection: ModelCollection
    do throws(ModelError) {
      collection = try ModelCollection(opening: sources.map { FilePath($0) }, lenient: lenient)
    } catch {
      throw Failure(error)
    }
    for warning in collection.warnings { printError("warning: \(warning)", command: "stls") }
    if quiet { return }
    for component in collection.components {
      if json {
        try write(MetadataDocument.bytes(of: component.model))
      } else {
        let listing = Listing(
          component.model, directory: component.name, order: sort, isHuman: isHuman,
          isColoured: Self.isColoured)
        try write(Array(listing.text.utf8))
      }
    }
  }

  /// Colours are for terminals that have some, and for people who want them: no-color.org.
  private static var isColoured: Bool {
    let isUnwanted = unsafe getenv("NO_COLOR").map { unsafe $0.pointee != 0 } ?? false
    let isDumb = unsafe getenv("TERM").map { unsafe strcmp($0, "dumb") == 0 } ?? true
    return isatty(STDOUT_FILENO) == 1 && !isUnwanted && !isDumb
  }

  /// Writes everything to standard output: write(2).
  private func write(_ bytes: [UInt8]) throws(Failure) {
    do {
      _ = try FileDescriptor.standardOutput.writeAll(bytes)
    } catch {
      throw .system("cannot write to standard output: \(error)")
    }
  }
}
