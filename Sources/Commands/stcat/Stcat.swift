import ArgumentParser
import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The command line of stcat(1).
struct Stcat: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stcat",
    abstract: "Write tensors of a safetensors model to standard output.",
    usage: "stcat [OPTIONS] SOURCE NAME...",
    discussion: """
      SOURCE is any source that stmount accepts. NAME is a tensor's name, its path below a mount, or a glob on either; quote globs. \
      Tensors are written one after the other, in the order given.
      """,
    version: "stcat \(stmountVersion)")

  @Argument(help: ArgumentHelp("The model.", valueName: "SOURCE"), completion: .file())
  var source: String?

  @Argument(help: ArgumentHelp("The tensors to write.", valueName: "NAME"))
  var names: [String] = []

  @Option(
    name: .customLong("as"),
    help: ArgumentHelp(
      "Write raw bytes, NumPy files, float32, or one model of all tensors.", valueName: "FORM"))
  var form = ViewForm.raw

  @Option(
    help: ArgumentHelp("Write only bytes A to B of the output, B excluded.", valueName: "A:B"),
    transform: { text in
      guard let range = ByteRange(text) else { throw ValidationError(ByteRange.problem) }
      return range
    })
  var range: ByteRange?

  @Flag(help: "Dequantise quantised tensors, and write them in float32.")
  var dequant = false

  @Flag(name: .shortAndLong, help: "Write to a terminal too.")
  var force = false

  @OptionGroup var opening: OpeningArguments

  static func main() {
    // If a reader such as head(1) ends early, this command ends like any other.
    signal(SIGPIPE, SIG_DFL)
    run { command throws(Failure) in try command.write() }
  }

  private func write() throws(Failure) {
    guard let source, !source.isEmpty, !names.isEmpty else {
      throw .usage("give a source and the names of tensors", command: "stcat")
    }
    guard force || isatty(STDOUT_FILENO) == 0 else {
      throw .usage(
        "standard output is a terminal, which binary data would garble: redirect it, or give --force",
        command: "stcat")
    }
    var collection = try ModelCollection.open(
      [source], opening.options, command: "stcat", before: names)
    if dequant { collection = try collection.dequantized(for: "stcat") }
    let files = try collection.files()
    let layouts = try self.layouts(of: Selection(files, of: source).entries(named: names), in: files)
    if range != nil, layouts.count != 1 {
      throw .usage("--range takes one tensor, and the names match several", command: "stcat")
    }
    var writer = LayoutWriter(to: OutputFile())
    do {
      for (layout, tensor) in layouts {
        let range = range?.clamped(to: layout.byteCount) ?? 0..<layout.byteCount
        try writer.write(layout, range, of: tensor)
      }
      try writer.flush()
    } catch {
      throw error as? Failure ?? .system("cannot write to standard output: \(error)")
    }
  }

  /// The output for some tensors: a file of each, or one model of all.
  private func layouts(of entries: [Selection.Entry], in files: FileTree) throws(Failure) -> [(
    layout: FileLayout, tensor: TensorName?
  )] {
    if form == .safetensors, entries.count > 1 { return [(try model(of: entries, in: files), nil)] }
    var layouts: [(layout: FileLayout, tensor: TensorName?)] = []
    for entry in entries {
      guard let layout = files.layout(of: files.tree.entry(entry.place, in: form.view)) else {
        let tensor = files.source(of: files.tree.node(entry.place)).tensor
        throw Failure(
          status: EX_DATAERR,
          "tensor \(entry.name) (\(tensor.dtype.name), \(PrintableText.counted(tensor.shape.count, "dimension"))) cannot be "
            + "written as \(form.rawValue); use --as raw or --as safetensors")
      }
      layouts.append((layout, entry.name))
    }
    return layouts
  }

  private func model(of entries: [Selection.Entry], in files: FileTree) throws(Failure) -> FileLayout {
    var seen: Set<TensorName> = []
    var tensors: [(tensor: Tensor, contents: FileLayout)] = []
    var shards: [Shard] = []
    for entry in entries {
      guard seen.insert(entry.name).inserted else {
        throw Failure(
          status: EX_DATAERR, "tensor \(entry.name) is named twice; a model can have it only once")
      }
      let (tensor, place) = files.source(of: files.tree.node(entry.place))
      let shard = files.models[place.model].shards[place.shard]
      if !shards.contains(where: { $0.file === shard.file }) { shards.append(shard) }
      guard let contents = files.layout(of: entry.place) else {
        throw Failure.tooLarge(entry.name)
      }
      tensors.append((tensor, contents))
    }
    do {
      let metadata = try MergedMetadata(shards.map { ($0.file.path, $0.header.metadata) })
      if let layout = try ModelFile(tensors, HeaderWriter(metadata: metadata.entries)).layout {
        return layout
      }
    } catch let conflict as MergedMetadata.Conflict {
      throw Failure(
        status: EX_DATAERR,
        "__metadata__ has two values for \(PrintableText.quoted(conflict.key)), in \(conflict.first.source.printable) and in "
          + "\(conflict.second.source.printable); write the tensors one by one")
    } catch {}
    throw Failure(status: EX_DATAERR, "the tensors do not fit into one safetensors file; write fewer")
  }
}
