import ArgumentParser
import Models

/// The command-line options for reading sources.
struct OpeningArguments: ParsableArguments {
  @Flag(help: "Ignore bytes after a file's last tensor, and tensors that an index names but its shards lack.")
  var lenient = false

  @Flag(help: "Also show tensors and files that an index does not name.")
  var all = false

  @Option(
    help: ArgumentHelp(
      "Read this branch, tag or snapshot of a repository in the Hub's cache.", valueName: "REVISION"))
  var revision: String?

  @Option(
    help: ArgumentHelp("Read this variant of a model, such as fp16.", valueName: "VARIANT"))
  var variant: String?

  /// The same for the library.
  var options: OpeningOptions {
    var options = OpeningOptions()
    options.add(self)
    return options
  }
}

extension OpeningOptions {
  /// Adds the command line's options to the mount options; the command line takes precedence.
  mutating func add(_ arguments: OpeningArguments) {
    if arguments.lenient { isLenient = true }
    if arguments.all { showsAll = true }
    revision = arguments.revision ?? revision
    variant = arguments.variant ?? variant
  }
}
