import Safetensors
import TensorFiles

/// The output of `stls --stats`: a line of titles, and one for each tensor.
struct ValueTable {
  private static let titles = [
    "name", "dtype", "shape", "min", "max", "mean", "std", "zeros", "nan", "inf", "",
  ]
  private static let blocks: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

  /// The table of some tensors. `directory` is the name of the model's directory if there are several models. Unless numbers are
  /// exact, they have five digits, and names are shortened to the width of the terminal.
  static func text(_ values: [TensorValues], directory: [UInt8]?, isExact: Bool) -> String {
    let text = directory.map { PrintableText.plain($0) + "/\n" } ?? ""
    // Words on the left, numbers on the right.
    let columns = Columns(numbers: 3..<10, width: isExact ? nil : StandardOutput.terminalWidth)
    return text + columns.text([titles] + values.map { row($0, isExact: isExact) })
  }

  private static func row(_ values: TensorValues, isExact: Bool) -> [String] {
    let (tensor, statistics) = (values.tensor, values.statistics)
    return [
      PrintableText.plain(tensor.name.utf8), tensor.dtype.name,
      tensor.shapeText,
    ]
      + [statistics.minimum, statistics.maximum, statistics.mean, statistics.standardDeviation].map {
        $0.isNaN ? "-" : String(isExact ? $0 : $0.withFiveDigits)
      }
      + [statistics.zeroCount, statistics.nanCount, statistics.infinityCount].map(String.init)
      + [drawing(values.histogram)]
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
