import ArgumentParser
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The command line of stpack(1).
struct Stpack: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stpack",
    abstract: "Pack tensors into a safetensors file, from a mount or any other model.",
    usage: "stpack [OPTIONS] INPUT... -o OUT.safetensors",
    discussion: """
      INPUT is a mounted model or a copy of one, any source that stmount accepts, a .npy file, or a directory of those. \
      Several inputs are merged. OUT is byte-identical to the reference writer's output; it appears only when complete.
      """,
    version: "stpack \(stmountVersion)")

  @Argument(help: ArgumentHelp("The model or tensor to pack.", valueName: "INPUT"), completion: .file())
  var inputs: [String] = []

  @Option(
    name: [.customShort("o", allowingJoined: true), .long],
    help: ArgumentHelp("Write this file; - is standard output.", valueName: "OUT.safetensors"),
    completion: .file())
  var output: String?

  @Flag(name: .shortAndLong, help: "Replace OUT if it exists.")
  var force = false

  @Flag(name: [.customShort("n"), .long], help: "Print the tensors of the output, and write nothing.")
  var dryRun = false

  @Option(
    help: ArgumentHelp(
      "Write shards of at most this size (5GB, 500MiB, 2G), and their index.", valueName: "SIZE"),
    transform: { text in
      guard let size = ByteSize(text) else {
        throw ValidationError("'\(text)' is not a size such as 5GB, 500MiB, 2G or a number of bytes")
      }
      return size
    })
  var maxShardSize: ByteSize?

  @Option(
    help: ArgumentHelp("Start the tensors' bytes at a multiple of this, such as 4096.", valueName: "BYTES"),
    transform: { text in
      guard let bytes = UInt64(text), bytes > 0, bytes % HeaderWriter.alignment == 0, bytes <= 1 << 24 else {
        throw ValidationError("'\(text)' is not a multiple of 8 from 8 to 16777216")
      }
      return bytes
    })
  var align: UInt64?

  @Option(
    help: ArgumentHelp(
      "Order tensors as the reference writer does, or sizes that are multiples of --align (4096) first.",
      valueName: "ORDER"))
  var order = Order.reference

  @Option(
    help: ArgumentHelp(
      "Take a tensor from another input, such as a .npy file; may be repeated.", valueName: "NAME=PATH"))
  var replace: [String] = []

  @Flag(help: "Leave out tensors whose files are missing in a copy of a mount.")
  var missingOk = false

  @Option(
    help: ArgumentHelp("Pack only tensors whose whole name matches; may be repeated.", valueName: "GLOB"))
  var include: [String] = []

  @Option(
    help: ArgumentHelp("Leave out tensors whose whole name matches; may be repeated.", valueName: "GLOB"))
  var exclude: [String] = []

  @Option(
    help: ArgumentHelp(
      "Rename tensors, as sed -E does; may be repeated.", valueName: "s/RE/REPLACEMENT/[g]"))
  var rename: [String] = []

  @Option(
    help: ArgumentHelp(
      "Convert floating-point tensors to f16, bf16 or f32; may be repeated.", valueName: "[GLOB=]TYPE"))
  var dtype: [String] = []

  @Flag(help: "Convert values that are too large for --dtype to its largest value.")
  var saturate = false

  @Option(help: ArgumentHelp("Set an entry of __metadata__; may be repeated.", valueName: "KEY=VALUE"))
  var metadata: [String] = []

  @Flag(help: "Drop the inputs' __metadata__.")
  var noMetadata = false

  @Flag(help: "Write quantised weights in float32, as .dequant/ of the mount shows them.")
  var dequant = false

  @OptionGroup var opening: OpeningArguments

  /// How tensors are ordered in a file.
  enum Order: String, CaseIterable, ExpressibleByArgument {
    case reference, aligned
  }

  static func main() {
    // If a reader such as head(1) ends early, this command ends like any other.
    signal(SIGPIPE, SIG_DFL)
    run { command throws(Failure) in try command.pack() }
  }

  private func pack() throws(Failure) {
    guard !inputs.isEmpty, !inputs.contains("") else {
      throw .usage("give at least one input", command: "stpack")
    }
    // A dry run needs no output file; only the names of shards depend on it.
    let path = FilePath(argument: output ?? (dryRun ? "model.safetensors" : ""))
    guard let name = path.lastComponent, name.kind == .regular else {
      throw .usage("give an output file: -o OUT.safetensors", command: "stpack")
    }
    if let output, output.utf8.last == UInt8(ascii: "/") {
      throw .usage(
        "-o \(PrintableText.quoted(output.argumentBytes)) is a directory: add the file's name, such as model.safetensors",
        command: "stpack")
    }
    let plan = try plan(for: path)
    if let unit = arrangement.unit {
      printError(
        "\(plan.alignedCount(unit)) of \(PrintableText.counted(plan.tensors.count, "tensor")) begin at a multiple of "
          + "\(unit) bytes", command: "stpack")
    }
    if dryRun {
      var table = TensorTable()
      table.isColoured = StandardOutput.isColoured
      // Inputs may be quantised, and parts of models.
      let count = dequant ? ParameterCount(plan.tensors) : ParameterCount(elementsOf: plan.tensors)
      try table.write(plan.tensors, files: plan.files.count, count)
      return
    }
    do {
      if Self.standardOutput.contains(path) {
        try writeStream(plan)
      } else {
        try write(plan, to: path)
      }
    } catch let failure as Failure {
      throw failure
    } catch let interruption as Interruption {
      interruption.end()
    } catch {
      throw .system("\(path.printable): cannot write it: \(error)")
    }
  }

  /// The paths that mean standard output.
  private static let standardOutput: [FilePath] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]

  private func plan(for path: FilePath) throws(Failure) -> PackPlan {
    let selection = NameSelection(including: include, excluding: exclude)
    let metadata = try MetadataOption(keepsInputs: !noMetadata, given: metadata)
    var renamings: [Renaming] = []
    for text in rename { renamings.append(try Renaming(text, command: "stpack")) }
    let conversion = try Conversion(dtype, saturates: saturate)
    var replacements: [Replacement] = []
    for text in replace { replacements.append(try Replacement(text)) }

    let opened = try openInputs(selection)
    var tensors = opened.flatMap(\.tensors)
    var warnings = opened.flatMap(\.warnings)
    var replaced: [(by: Replacement, former: PackedTensor)] = []
    for replacement in replacements {
      let (former, more) = try replacement.apply(to: &tensors, chosenBy: selection)
      replaced.append((replacement, former))
      warnings += more
    }
    guard !tensors.isEmpty || include.isEmpty && exclude.isEmpty else {
      throw Failure(status: EX_NOINPUT, "--include and --exclude leave no tensor")
    }
    try conversion.checkUse(by: tensors)
    for position in tensors.indices { tensors[position] = try conversion.apply(to: tensors[position]) }
    for (replacement, former) in replaced {
      let converted = try conversion.apply(to: former).tensor
      if let warning = replacement.warning(of: converted, in: tensors) { warnings.append(warning) }
    }
    for warning in warnings { printError("warning: \(warning)", command: "stpack") }
    if !renamings.isEmpty {
      for position in tensors.indices {
        try tensors[position].set(name: Renaming.rename(tensors[position].originalName, by: renamings))
      }
    }
    return try PackPlan(
      tensors, metadata: try metadata.merged(opened), fileName: path.fileName, shardSize: maxShardSize?.bytes,
      arrangement: arrangement)
  }

  /// The inputs, with only the chosen tensors.
  private func openInputs(_ selection: NameSelection) throws(Failure) -> [PackInput] {
    let options = PackInput.Options(
      selection: selection, opening: opening.options, allowsMissing: missingOk, dequantizes: dequant)
    var opened: [PackInput] = []
    for input in inputs {
      do throws(ModelError) {
        opened.append(try PackInput(opening: FilePath(argument: input), options))
      } catch {
        throw Failure(error)
      }
    }
    try selection.checkUse()
    if let name = selection.excludedTwice {
      throw Failure(
        status: EX_DATAERR,
        "--exclude leaves tensor \(name) out of two inputs; take one of them with --replace, or pack each input by "
          + "itself first")
    }
    return opened
  }

  private var arrangement: PackPlan.Arrangement {
    switch order {
    case .reference: PackPlan.Arrangement(alignment: align ?? HeaderWriter.alignment)
    case .aligned: PackPlan.Arrangement(alignment: align ?? Self.pageSize, unit: align ?? Self.pageSize)
    }
  }

  private static let pageSize: UInt64 = 4096

  private func writeStream(_ plan: PackPlan) throws {
    guard force || isatty(STDOUT_FILENO) == 0 else {
      throw Failure.usage(
        "standard output is a terminal; redirect it, or give --force", command: "stpack")
    }
    var writer = PackWriter(plan)
    try writer.writeStream()
  }

  private func write(_ plan: PackPlan, to path: FilePath) throws {
    if plan.index != nil, (try? Stat(path, followTargetSymlink: false)) != nil {
      throw Failure(
        status: EX_CANTCREAT,
        "\(path.printable): it exists, and readers would take it in place of the shards; remove it first")
    }
    var writer = PackWriter(plan)
    try writer.write(into: path.removingLastComponent(), replaces: force)
    let others = plan.otherShards(of: path.fileName, among: (try? path.parent.entries()) ?? [])
    if !others.isEmpty {
      printError(
        "warning: \(path.printable): files of another set of shards are left: \(list(others)); remove them",
        command: "stpack")
    }
  }
}
