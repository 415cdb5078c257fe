import Glibc

/// Rows of text in columns, each as wide as its widest cell, with two spaces between them.
struct Columns {
  /// The columns whose cells are on the right, as numbers are.
  var numbers = 0..<0
  /// The width of the terminal: names in the first column are shortened until rows fit. Nil for rows of any width.
  var width: Int?

  /// Names are not shortened further than this.
  private static let leastWidth = 20

  /// A line for each row; a row may have fewer cells than others.
  func text(_ rows: [[String]]) -> String {
    var widths: [Int] = []
    for row in rows {
      for (column, cell) in row.enumerated() {
        if column == widths.count { widths.append(0) }
        widths[column] = max(widths[column], cell.unicodeScalars.count)
      }
    }
    if let width, let first = widths.first {
      let others = widths.dropFirst().reduce(0) { $0 + $1 + 2 }
      widths[0] = min(first, max(Self.leastWidth, width - others))
    }
    var text = ""
    for row in rows {
      var line = ""
      for (column, cell) in row.enumerated() {
        let cell = column == 0 ? Self.shortened(cell, to: widths[0]) : cell
        let padding = String(repeating: " ", count: widths[column] - cell.unicodeScalars.count)
        line += (column == 0 ? "" : "  ") + (numbers.contains(column) ? padding + cell : cell + padding)
      }
      while line.last == " " { line.removeLast() }
      text += line + "\n"
    }
    return text
  }

  /// The text, with a mark in place of its middle if it is too long: the ends of tensors' names differ most.
  private static func shortened(_ text: String, to width: Int) -> String {
    let scalars = Array(text.unicodeScalars)
    guard scalars.count > width else { return text }
    let end = width / 2
    var short = String.UnicodeScalarView(scalars.prefix(width - end - 1))
    short.append("…")
    short.append(contentsOf: scalars.suffix(end))
    return String(short)
  }
}

extension Double {
  /// The number rounded to five significant digits, for a person.
  var withFiveDigits: Double {
    let factor = pow(10, 4 - log10(magnitude).rounded(.down))
    return factor.isNormal ? (self * factor).rounded() / factor : self
  }
}
