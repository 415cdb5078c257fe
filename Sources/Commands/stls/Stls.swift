import ArgumentParser
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The command line of stls(1).
struct Stls: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stls",
    abstract: "List the tensors of a safetensors model: name, dtype, shape, size.",
    usage: "stls [OPTIONS] SOURCE...",
    discussion: """
      SOURCE is any source that stmount accepts: a .safetensors file or a PyTorch checkpoint, several of them, an index \
      of shards, or a directory; or a mounted model, or a copy of one. Only headers are read, unless --stats, --hash or \
      --check is given. The exit status is 0 if the model is sound, 65 if it is broken, and 66 if it does not exist.
      """,
    version: "stls \(stmountVersion)",
    helpNames: .long)

  @Argument(help: ArgumentHelp("The model to list.", valueName: "SOURCE"), completion: .file())
  var sources: [String] = []

  @Flag(name: [.customShort("h"), .customLong("human-readable")], help: "Print sizes like 1.5K, 234M, 2.0G.")
  var isHuman = false

  @Option(
    help: ArgumentHelp(
      "Sort by name, size (largest first) or offset (order in the files).", valueName: "ORDER"))
  var sort = Order.name

  @Option(
    help: ArgumentHelp("List only tensors whose whole name matches; may be repeated.", valueName: "GLOB"))
  var include: [String] = []

  @Option(
    help: ArgumentHelp("Leave out tensors whose whole name matches; may be repeated.", valueName: "GLOB"))
  var exclude: [String] = []

  @Flag(help: "Print metadata.json, as a mount would show it.")
  var json = false

  @Flag(help: "Print statistics of the values: min, max, mean, std, zeros, NaN, Inf.")
  var stats = false

  @Flag(help: "Exit with 1 if a value is NaN; implies --stats.")
  var failOnNan = false

  @Option(
    help: ArgumentHelp("Print the SHA-256 of each tensor: a manifest for sha256sum -c.", valueName: "sha256"))
  var hash: HashKind?

  @Option(
    help: ArgumentHelp("Compare with a manifest; exit with 1 if a tensor differs.", valueName: "MANIFEST"),
    completion: .file())
  var check: String?

  @Flag(help: "List the model dequantised, as .dequant/ of the mount shows it.")
  var dequant = false

  @Flag(name: .shortAndLong, help: "Print only errors; the exit status says whether the model is sound.")
  var quiet = false

  @OptionGroup var opening: OpeningArguments

  static func main() {
    // If a reader such as head(1) ends early, this command ends like any other.
    signal(SIGPIPE, SIG_DFL)
    run { command throws(Failure) in try command.list() }
  }

  private func list() throws(Failure) {
    // -h alone prints the help.
    if sources.isEmpty, isHuman {
      return try StandardOutput.write(Array((Self.helpMessage() + "\n").utf8))
    }
    guard !sources.isEmpty, !sources.contains("") else {
      throw .usage("give at least one source", command: "stls")
    }
    let modes = [json, stats || failOnNan, hash != nil, check != nil].count { $0 }
    guard modes <= 1 else {
      throw .usage("--json, --stats, --hash and --check print different things: give one", command: "stls")
    }
    let readsAll = stats || failOnNan || hash != nil || check != nil
    let models: [ListedModel]
    let selection = NameSelection(including: include, excluding: exclude)
    if readsAll || dequant {
      let collection = try self.collection(selection)
      if readsAll { return try readAll(collection, selection) }
      models = ListedModel.models(of: collection, sort, isDequantized: true)
    } else {
      models = try listed(selection)
    }
    if quiet { return }
    for model in models { try write(model) }
  }

  /// The models of the sources, open for reading, with only the chosen tensors.
  private func collection(_ selection: NameSelection) throws(Failure) -> ModelCollection {
    // A quantised tensor needs others, which have names of their own.
    let collection = try ModelCollection.open(
      sources, opening.options, command: "stls", choosing: dequant ? { _ in true } : selection.contains)
    return try selection.filter(dequant ? collection.dequantized(for: "stls") : collection)
  }

  /// The models of the sources, with only the chosen tensors.
  private func listed(_ selection: NameSelection) throws(Failure) -> [ListedModel] {
    let found: (models: [ListedModel], warnings: [String])
    do throws(ModelError) {
      found = try ListedModel.models(
        in: sources.map { FilePath(argument: $0) }, opening.options, order: sort, selection)
    } catch {
      throw Failure(error)
    }
    for warning in found.warnings { printError("warning: \(warning)", command: "stls") }
    try selection.checkUse()
    return found.models
  }

  /// Reads all tensors: `--stats`, `--hash`, `--check`.
  private func readAll(_ collection: ModelCollection, _ selection: NameSelection) throws(Failure) {
    do {
      if stats || failOnNan { return try listValues(collection) }
      if let check {
        return try compare(collection, selection, with: Manifest(reading: FilePath(argument: check)))
      }
      let lines = try Manifest.lines(of: HashedFile.all(in: collection.files()))
      try checkUnchanged(collection)
      if !quiet { try StandardOutput.write(lines: Manifest(lines: lines).text) }
    } catch {
      throw error as? Failure ?? .system("cannot read the source: \(error)")
    }
  }

  private func write(_ model: ListedModel) throws(Failure) {
    if json {
      guard let document = model.document else {
        throw .usage("--json shows the metadata.json of a mount as it is, with all tensors", command: "stls")
      }
      let bytes: [UInt8]
      do throws(ModelError) {
        bytes = try document()
      } catch {
        throw Failure(error)
      }
      return try StandardOutput.write(lines: bytes)
    }
    var table = TensorTable()
    table.isHuman = isHuman
    table.isColoured = StandardOutput.isColoured
    try table.write(model.tensors, directory: model.name, files: model.fileCount, model.parameters())
  }
}

extension Stls {
  private func listValues(_ collection: ModelCollection) throws {
    var hasNaN = false
    for component in collection.components {
      let model = component.model
      var tensors: [(tensor: Tensor, contents: FileLayout)] = []
      for place in sort.places(of: model) {
        let tensor = model.tensor(at: place)
        guard let contents = FileLayout(of: tensor, in: model.shard(at: place)) else {
          throw Failure.tooLarge(tensor.name)
        }
        tensors.append((tensor, contents))
      }
      let isDrawn = isatty(STDOUT_FILENO) == 1 && !StandardOutput.isTerminalDumb && !quiet
      let values = try TensorValues.all(of: tensors, withHistograms: isDrawn)
      try checkUnchanged(collection)
      hasNaN = hasNaN || values.contains { $0.statistics.nanCount > 0 }
      if !quiet {
        let text = ValueTable.text(values, directory: component.name, isExact: isatty(STDOUT_FILENO) == 0)
        try StandardOutput.write(Array(text.utf8))
      }
    }
    if failOnNan, hasNaN { Glibc.exit(1) }
  }

  private func compare(
    _ collection: ModelCollection, _ selection: NameSelection, with manifest: Manifest
  ) throws {
    let directories = collection.components.compactMap(\.name)
    let check = try ManifestCheck(manifest, of: HashedFile.all(in: collection.files()), quiet: quiet) {
      path in
      // If no chosen tensor has the line's path, the name must be decoded from it.
      var path = path[...]
      if let directory = directories.first(where: { path.starts(with: $0 + [UInt8(ascii: "/")]) }) {
        path = path.dropFirst(directory.count + 1)
      }
      return selection.contains((try? PathDecoder.name(of: path)) ?? TensorName(utf8: path))
    }
    try checkUnchanged(collection)
    try StandardOutput.write(Array(check.text.utf8))
    if !check.unlisted.isEmpty {
      let tensors = PrintableText.counted(check.unlisted.count, "tensor")
      printError(
        "warning: the manifest does not have \(tensors) of the source: \(Models.list(check.unlisted))",
        command: "stls")
    }
    if check.failures > 0 {
      throw Failure(
        status: 1,
        "\(check.failures) of \(PrintableText.counted(check.lines, "line")) of the manifest did not match"
      )
    }
  }

  private func checkUnchanged(_ collection: ModelCollection) throws(Failure) {
    for file in collection.components.flatMap(\.model.shards).flatMap(\.files) where !file.isUnchanged() {
      throw Failure(file.changed)
    }
  }
}

/// The supported digests: `--hash`.
enum HashKind: String, CaseIterable, ExpressibleByArgument {
  case sha256
}

extension Order: ExpressibleByArgument {}
