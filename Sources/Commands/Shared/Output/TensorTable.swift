import Models
import Safetensors
import TensorFiles

/// Tensors as a table, as ls(1) lists files: one line for each, and two with totals.
struct TensorTable {
  /// Sizes in words, such as 2.0G, in place of bytes.
  var isHuman = false
  /// Bold and dim text, for terminals.
  var isColoured = false

  /// A table in plain bytes and text.
  init() {}

  /// Writes the table's lines. `directory` is the name of the model's directory if there are several models; `files`
  /// is the number of files that the tensors are in, and `parameters` is for the last line.
  ///
  /// It writes in pieces, since a small pickle can repeat shapes of a thousand dimensions.
  func write(_ tensors: [Tensor], directory: [UInt8]? = nil, files: Int, _ parameters: ParameterCount)
    throws(Failure)
  {
    var widths = [0, 0, 0, 0]
    for tensor in tensors {
      for (column, cell) in row(tensor).enumerated() {
        widths[column] = max(widths[column], cell.unicodeScalars.count)
      }
    }
    let dim = isColoured ? "\u{1b}[2m" : ""
    let bold = isColoured ? "\u{1b}[1m" : ""
    let plain = isColoured ? "\u{1b}[0m" : ""
    var text = ""
    if let directory { text += bold + PrintableText.plain(directory) + "/" + plain + "\n" }
    for tensor in tensors {
      let row = row(tensor)
      text += row[0] + Self.padding(row[0], widths[0])
      text += "  " + dim + row[1] + plain + Self.padding(row[1], widths[1])
      text += "  " + row[2] + Self.padding(row[2], widths[2])
      text += "  " + Self.padding(row[3], widths[3]) + row[3] + "\n"
      if text.utf8.count >= Self.pieceSize {
        try StandardOutput.write(Array(text.utf8))
        text = ""
      }
    }
    // Tensors that repeat the same bytes can be more than any disk holds.
    let total = tensors.lazy.map(\.byteCount).clampedSum
    let counts = "\(PrintableText.counted(tensors.count, "tensor")), \(PrintableText.counted(files, "file"))"
    text += bold + "total \(total == .max ? "more than " : "")\(size(total))" + plain
    text += " in \(counts)\n\(parameters.text)\n"
    try StandardOutput.write(Array(text.utf8))
  }

  /// How much is written at a time, in bytes.
  private static let pieceSize = 1 << 16

  private func row(_ tensor: Tensor) -> [String] {
    [PrintableText.plain(tensor.name.utf8), tensor.dtype.name, tensor.shapeText, size(tensor.byteCount)]
  }

  private func size(_ bytes: UInt64) -> String { isHuman ? Self.human(bytes) : String(bytes) }

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
