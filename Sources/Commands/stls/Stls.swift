import ArgumentParser
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles
import TensorFS

/// The command line of stls(1).
struct Stls: ParsableCommand {
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

  @OptionGroup var opening: OpeningArguments

  static func main() {
    // A reader such as head(1) that has seen enough ends this like any other command.
    signal(SIGPIPE, SIG_DFL)
    run { command throws(Failure) in try command.list() }
  }

  private func list() throws(Failure) {
    guard !sources.isEmpty, !sources.contains("") else {
      throw .usage("give at least one source", command: "stls")
    }
    let collection: ModelCollection
    do throws(ModelError) {
      collection = try ModelCollection(opening: sources.map { FilePath(argument: $0) }, opening.options)
    } catch {
      throw Failure(error)
    }
    for warning in collection.warnings { printError("warning: \(warning)", command: "stls") }
    if quiet { return }
    var table = TensorTable()
    table.isHuman = isHuman
    table.isColoured = StandardOutput.isColoured
    for component in collection.components {
      if json {
        try StandardOutput.write(MetadataDocument.bytes(of: component.model))
      } else {
        let tensors = sort.tensors(of: component.model)
        let files = component.model.shards.count
        try StandardOutput.write(
          Array(table.text(tensors, directory: component.name, files: files).utf8))
      }
    }
  }
}

extension Order: ExpressibleByArgument {}
