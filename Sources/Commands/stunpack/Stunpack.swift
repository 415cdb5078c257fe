import ArgumentParser
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The command line of stunpack(1).
struct Stunpack: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stunpack",
    abstract: "Write a safetensors model as a directory of files, one per tensor.",
    usage: "stunpack [OPTIONS] SOURCE DIRECTORY",
    discussion: """
      SOURCE is any source that stmount accepts. DIRECTORY gets the files that cp -r of a mount would copy, without a \
      mount; it is created if it does not exist. stpack DIRECTORY makes the model again.
      """,
    version: "stunpack \(stmountVersion)")

  @Argument(help: ArgumentHelp("The model.", valueName: "SOURCE"), completion: .file())
  var source: String?

  @Argument(help: ArgumentHelp("Where to write.", valueName: "DIRECTORY"), completion: .directory)
  var directory: String?

  @Option(
    name: .customLong("as"),
    help: ArgumentHelp(
      "Write raw bytes, NumPy files, float32, or one model per tensor.", valueName: "FORM"))
  var form = ViewForm.raw

  @Option(
    help: ArgumentHelp("Write only tensors whose whole name matches; may be repeated.", valueName: "GLOB"))
  var include: [String] = []

  @Option(
    help: ArgumentHelp("Leave out tensors whose whole name matches; may be repeated.", valueName: "GLOB"))
  var exclude: [String] = []

  @Flag(help: "Dequantise quantised models, and write them in float32.")
  var dequant = false

  @Flag(name: .shortAndLong, help: "Replace files that exist.")
  var force = false

  @OptionGroup var opening: OpeningArguments

  static func main() {
    signal(SIGPIPE, SIG_DFL)
    run { command throws(Failure) in try command.unpack() }
  }

  private func unpack() throws(Failure) {
    guard let source, !source.isEmpty, let directory, !directory.isEmpty else {
      throw .usage("give a source and a directory", command: "stunpack")
    }
    var collection = try ModelCollection.open(
      [source], opening.options, command: "stunpack", before: [directory])
    if dequant { collection = try collection.dequantized(for: "stunpack") }
    let kept = try NameSelection(including: include, excluding: exclude).filter(collection)
    let plan = try UnpackPlan(kept.files(), form: form, to: FilePath(argument: directory), replaces: force)
    try plan.check()
    let writer = UnpackWriter(plan)
    do {
      try writer.run()
    } catch let failure as Failure {
      throw failure
    } catch let interruption as Interruption {
      interruption.end()
    } catch {
      throw .system("\(FilePath(argument: directory).printable): cannot write to it: \(error)")
    }
  }
}
