import Glibc
import Safetensors
import TensorFiles

/// The output of `stls --stats`: a line of titles, and one for each tensor.
struct ValueTable {
  private static let titles = [
    "name", "dtype", "shape", "min", "max", "mean", "std", "zeros", "nan", "inf", "",
  ]
  private static let blocks: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

  /// The table of some tensors; `directory` is the name of the model's directory, where there are several. Numbers are as exact
  /// as float64, or have five digits where a person reads them.
  static func text(_ values: [TensorValues], directory: [UInt8]?, isExact: Bool) -> String {
    let rows = [titles] + values.map { row($0, isExact: isExact) }
    let widths = titles.indices.map { column in rows.map { $0[column].unicodeScalars.count }.max() ?? 0 }
    var text = directory.map { PrintableText.plain($0) + "/\n" } ?? ""
    for row in rows {
      var line = ""
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.unicodeScalars.count)
        // Words on the left, numbers on the right.
        line += (column == 0 ? "" : "  ") + (3..<10 ~= column ? padding + cell : cell + padding)
      }
      while line.last == " " { line.removeLast() }
      text += line + "\n"
    }
    return text
  }

  private static func row(_ values: TensorValues, isExact: Bool) -> [String] {
    let (tensor, statistics) = (values.tensor, values.statistics)
    return [
      PrintableText.plain(tensor.name.utf8), tensor.dtype.name,
      tensor.shapeText,
    ]
      + [statistics.minimum, statistics.maximum, statistics.mean, statistics.standardDeviation].map {
        $0.isNaN ? "-" : String(isExact ? $0 : rounded($0))
      }
      + [statistics.zeroCount, statistics.nanCount, statistics.infinityCount].map(String.init)
      + [drawing(values.histogram)]
  }

  /// A number with five significant digits.
  private static func rounded(_ number: Double) -> Double {
    let factor = pow(10, 4 - log10(number.magnitude).rounded(.down))
    return factor.isNormal ? (number * factor).rounded() / factor : number
  }

  /// The histogram as blocks, the highest for the largest part; nothing for a part without numbers.
  private static func drawing(_ histogram: [UInt64]) -> String {
    let most = Double(histogram.max() ?? 0)
    return String(
      histogram.map { count in
        count == 0 ? " " : blocks[Int((Double(count) / most * Double(blocks.count - 1)).rounded())]
      })
  }
}
