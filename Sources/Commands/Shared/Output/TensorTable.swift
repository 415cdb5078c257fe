import Linux
import Models
import Safetensors
import TensorFiles

/// Tensors as a table, as ls(1) lists files: one line for each, and one for all.
struct TensorTable {
  /// Sizes in words, such as 2.0G, in place of bytes.
  var isHuman = false
  /// Bold and dim text, for terminals.
  var isColoured = false

  /// A table in plain bytes and text.
  init() {}

  /// The table's lines. `directory` is the name of the model's directory, where there are several; `files`
  /// how many files the tensors are in.
  func text(_ tensors: [Tensor], directory: [UInt8]? = nil, files: Int) -> String {
    let rows = tensors.map { tensor in
      [
        PrintableText.plain(tensor.name.utf8), tensor.dtype.name,
        "[" + tensor.shape.map(String.init).joined(separator: ", ") + "]", size(tensor.byteCount),
      ]
    }
    let widths = (0..<4).map { column in rows.map { $0[column].unicodeScalars.count }.max() ?? 0 }
    let dim = isColoured ? "\u{1b}[2m" : ""
    let bold = isColoured ? "\u{1b}[1m" : ""
    let plain = isColoured ? "\u{1b}[0m" : ""
    var text = ""
    if let directory { text += bold + PrintableText.plain(directory) + "/" + plain + "\n" }
    for row in rows {
      text += row[0] + Self.padding(row[0], widths[0])
      text += "  " + dim + row[1] + plain + Self.padding(row[1], widths[1])
      text += "  " + row[2] + Self.padding(row[2], widths[2])
      text += "  " + Self.padding(row[3], widths[3]) + row[3] + "\n"
    }
    // Tensors that repeat the same bytes can be more than any disk holds.
    let total = tensors.lazy.map(\.byteCount).clampedSum
    let counts = "\(Self.counted(rows.count, "tensor")), \(Self.counted(files, "file"))"
    return text + bold + "total \(total == .max ? "more than " : "")\(size(total))" + plain
      + " in \(counts)\n\(ParameterCount(tensors).text)\n"
  }

  private func size(_ bytes: UInt64) -> String { isHuman ? Self.human(bytes) : String(bytes) }

  private static func counted(_ count: Int, _ noun: String) -> String {
    count == 1 ? "1 \(noun)" : "\(count) \(noun)s"
  }

  private static func padding(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.unicodeScalars.count))
  }

  /// A size as ls(1) -h prints it: powers of 1024, rounded up, one decimal below 10.
  static func human(_ bytes: UInt64) -> String {
    if bytes < 1024 { return String(bytes) }
    var unit: UInt64 = 1024
    var letters = Substring("KMGTPE")
    while letters.count > 1, bytes > unit * 1023 {
      unit *= 1024
      letters = letters.dropFirst()
    }
    let (whole, rest) = bytes.quotientAndRemainder(dividingBy: unit)
    // A tenth of a unit fits ten times over: units are at most 2^60.
    let tenths = whole * 10 + (rest == 0 ? 0 : (rest * 10 / unit) + (rest * 10 % unit == 0 ? 0 : 1))
    let number = tenths < 100 ? "\(tenths / 10).\(tenths % 10)" : String((tenths + 9) / 10)
    return number + String(letters.prefix(1))
  }
}
