internal import Safetensors
internal import SystemPackage

extension Shard {
  /// The maximum number of omitted tensors with a line of their own.
  private static let namedOmissions = 10
  /// The maximum number of unknown classes and functions that a warning names.
  private static let namedGlobals = 40

  /// Warnings about omitted tensors, names, unknown classes, and bytes after the last tensor. One line each; safe to print.
  var warnings: [String] {
    var lines = omitted.prefix(Self.namedOmissions).map {
      "\(file.path.printable): tensor \($0.name) \($0.reason); left out"
    }
    let others = omitted.count - lines.count
    if others > 0 {
      lines.append("\(file.path.printable): \(PrintableText.counted(others, "more tensor")) left out")
    }
    lines += notes.map { "\(file.path.printable): \($0)" }
    if !unknownGlobals.isEmpty {
      let names = unknownGlobals.prefix(Self.namedGlobals).map { PrintableText.plain($0) }
      let others = unknownGlobals.count - names.count
      lines.append(
        "\(file.path.printable): unknown classes and functions, not executed: "
          + names.joined(separator: ", ")
          + (others > 0 ? " and \(others) more" : ""))
    }
    if header.trailingBytes > 0 {
      let count = PrintableText.counted(header.trailingBytes, "byte")
      lines.append("\(file.path.printable): ignored \(count) after the last tensor")
    }
    return lines
  }
}
