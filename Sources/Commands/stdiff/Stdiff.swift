import ArgumentParser
import Glibc
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The command line of stdiff(1).
struct Stdiff: ParsableCommand {
  /// The exit status of every error, as in diff(1).
  private static let trouble: Int32 = 2

  static let configuration = CommandConfiguration(
    commandName: "stdiff",
    abstract: "Compare two safetensors models, tensor by tensor.",
    usage: "stdiff [OPTIONS] A B",
    discussion: """
      A and B are any sources that stmount accepts; their formats and shards may differ. A line begins with < for a \
      tensor that only A has, > for one that only B has, and | for one that differs. The exit status is that of diff: \
      0 if both are the same, 1 if they differ, 2 for an error.
      """,
    version: "stdiff \(stmountVersion)")

  @Argument(help: ArgumentHelp("The two models.", valueName: "MODEL"), completion: .file())
  var sources: [String] = []

  @Flag(help: "Print only whether the models differ, and stop at the first difference.")
  var brief = false

  @Flag(help: "Print how far the values of each changed tensor differ.")
  var stat = false

  @Flag(help: "Dequantise quantised models to float32 before comparing them.")
  var dequant = false

  @Flag(help: "Print a JSON document.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "Rename A's tensors, as sed -E does; may be repeated.", valueName: "s/RE/REPLACEMENT/[g]"))
  var rename: [String] = []

  @OptionGroup var opening: OpeningArguments

  static func main() {
    signal(SIGPIPE, SIG_DFL)
    run(trouble: trouble) { command throws(Failure) in
      let isSame = try command.compare()
      Glibc.exit(isSame ? 0 : 1)
    }
  }

  /// Compares and prints; true if there is no difference.
  private func compare() throws(Failure) -> Bool {
    guard sources.count == 2, !sources.contains("") else {
      throw .usage("give two models", command: "stdiff")
    }
    guard !brief || !(stat || json) else {
      throw .usage("--brief stops at the first difference, which --stat and --json do not", command: "stdiff")
    }
    var renamings: [Renaming] = []
    for text in rename { renamings.append(try Renaming(text, command: "stdiff")) }
    var models = try sources.map { source throws(Failure) in
      try ModelCollection.open([source], opening.options, command: "stdiff")
    }
    if dequant { models = try dequantized(models) }
    let first = try DiffSide(models[0], renamedBy: renamings)
    let second = try DiffSide(models[1], renamedBy: [])
    let report: DiffReport
    do {
      report = try self.report(first, second)
      for file in first.files + second.files {
        guard file.isUnchanged() else { throw Failure(file.changed) }
      }
    } catch {
      throw error as? Failure ?? .system("cannot compare: \(error)")
    }
    let isSame = report.differences.isEmpty
    if json {
      try StandardOutput.write(report.json)
    } else if !brief {
      let text =
        isatty(STDOUT_FILENO) == 1 ? report.table(width: StandardOutput.terminalWidth) : report.text
      try StandardOutput.write(Array(text.utf8))
    } else if !isSame {
      let names = sources.map { FilePath(argument: $0).printable }
      try StandardOutput.write(Array("\(names[0]) and \(names[1]) differ\n".utf8))
    }
    return isSame
  }

  /// Both models, dequantised if they are quantised. Fails if neither is.
  private func dequantized(_ models: [ModelCollection]) throws(Failure) -> [ModelCollection] {
    let others = try models.map { model throws(Failure) in
      try model.dequantizedIfQuantized(for: "stdiff")
    }
    guard others.contains(where: { $0 != nil }) else {
      throw Failure(
        status: EX_DATAERR,
        "nothing to dequantise: no tensor of either model is quantised in a supported format; leave out --dequant"
      )
    }
    return zip(models, others).map { $1 ?? $0 }
  }

  private func report(_ first: DiffSide, _ second: DiffSide) throws -> DiffReport {
    var differences: [Difference] = []
    var pairs: [Comparison.Pair] = []
    var sameCount = 0
    var (left, right) = (first.entries[...], second.entries[...])
    while let name = [left.first, right.first].compactMap({ $0?.name }).min() {
      let old = left.first?.name == name ? left.popFirst() : nil
      let new = right.first?.name == name ? right.popFirst() : nil
      guard let old, let new, old.isComparable(to: new) else {
        differences.append(Difference(name: name, first: old?.tensor, second: new?.tensor))
        continue
      }
      if old.tensor.dtype == new.tensor.dtype, old.isSameRange(as: new) {
        sameCount += 1
      } else {
        pairs.append(Comparison.Pair(first: old, second: new))
      }
    }
    if brief, !differences.isEmpty { return DiffReport(differences: differences, sameCount: sameCount) }
    let (differing, distances) = try Comparison(pairs, stat ? .howFar : brief ? .any : .which).run()
    for (index, pair) in pairs.enumerated() {
      guard differing[index] else {
        sameCount += 1
        continue
      }
      differences.append(
        Difference(
          name: pair.first.name, first: pair.first.tensor, second: pair.second.tensor,
          distance: stat ? distances[index] : nil))
    }
    return DiffReport(differences: differences.sorted { $0.name < $1.name }, sameCount: sameCount)
  }
}

extension DiffSide.Entry {
  /// True if both have the same shape and the same number of numbers: complex elements have two.
  fileprivate func isComparable(to other: DiffSide.Entry) -> Bool {
    tensor.shape == other.tensor.shape && (tensor.dtype == .c64) == (other.tensor.dtype == .c64)
  }
}
