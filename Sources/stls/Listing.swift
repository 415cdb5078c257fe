import Safetensors

/// The table that a model is listed as: one line for each tensor, and one for all.
struct Listing {
  /// The table's lines.
  let text: String

  /// Lays out a model. `directory` is the name of its directory in a mount of several models.
  init(_ model: Model, directory: [UInt8]?, order: Stls.Order, isHuman: Bool, isColoured: Bool) {
    func size(_ bytes: UInt64) -> String { isHuman ? Self.human(bytes) : String(bytes) }
    let rows = Self.sorted(model, by: order).map { place in
      let tensor = model.tensor(at: place)
      return [
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
    let files = model.shards.count == 1 ? "1 file" : "\(model.shards.count) files"
    let count = rows.count == 1 ? "1 tensor" : "\(rows.count) tensors"
    self.text = text + bold + "total \(size(model.totalSize))" + plain + " in \(count), \(files)\n"
  }

  private static func sorted(_ model: Model, by order: Stls.Order) -> [Model.Place] {
    switch order {
    case .name: return model.places
    case .size:
      // Equal sizes in the order of names: the sort is stable.
      return model.places.sorted { model.tensor(at: $0).byteCount > model.tensor(at: $1).byteCount }
    case .offset:
      func key(_ place: Model.Place) -> (Int32, UInt64, UInt64) {
        let range = model.tensor(at: place).dataRange
        return (place.shard, range.lowerBound, range.upperBound)
      }
      return model.places.sorted { key($0) < key($1) }
    }
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
