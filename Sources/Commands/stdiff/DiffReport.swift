import Safetensors
import TensorFiles

/// The output of stdiff(1): a line for each difference, or one JSON document.
struct DiffReport {
  /// In the order of names.
  let differences: [Difference]
  /// How many tensors are the same in both.
  let sameCount: Int

  /// One line for each difference: its sign as in diff(1) -y, the name, and both descriptions if they differ.
  var text: String {
    differences.map { difference in
      let cells = [difference.heading, difference.forms, difference.distance?.text ?? difference.remark]
      return cells.filter { !$0.isEmpty }.joined(separator: "  ") + "\n"
    }.joined()
  }

  /// The same for a terminal: in columns, with rounded numbers, and with titles if distances were measured.
  func table(width: Int?) -> String {
    let rows = differences.map { difference in
      [difference.heading, difference.forms] + (difference.distance?.cells ?? [difference.remark])
    }
    let isMeasured = differences.contains { $0.distance != nil }
    let columns = Columns(numbers: isMeasured ? 2..<7 : 0..<0, width: width)
    return columns.text((isMeasured ? [Self.titles] : []) + rows)
  }

  private static let titles = [
    "  name", "dtype and shape", "elements differ", "absolute", "relative", "rms", "cosine",
  ]

  /// The same as a document of JSON.
  var json: [UInt8] {
    var json = JSONWriter()
    json.raw("{\n  \"same\": ")
    json.number(UInt64(sameCount))
    json.raw(",\n  \"differences\": ")
    json.list(
      differences.isEmpty ? "[" : "[\n    ", differences, separator: ",\n    ",
      differences.isEmpty ? "]" : "\n  ]"
    ) {
      json, difference in
      json.raw("{\"name\": ")
      json.string(difference.name.utf8)
      json.raw(", \"first\": ")
      Self.append(difference.first, to: &json)
      json.raw(", \"second\": ")
      Self.append(difference.second, to: &json)
      if let distance = difference.distance { distance.append(to: &json) }
      json.raw("}")
    }
    json.raw("\n}\n")
    return json.bytes
  }

  private static func append(_ tensor: Tensor?, to json: inout JSONWriter) {
    guard let tensor else {
      json.raw("null")
      return
    }
    json.raw("{\"dtype\": ")
    json.string(tensor.dtype.name)
    json.raw(", \"shape\": ")
    json.list("[", tensor.shape, "]") { json, dimension in json.number(dimension) }
    json.raw("}")
  }
}

extension Difference {
  /// The sign, and the name.
  fileprivate var heading: String {
    (second == nil ? "< " : first == nil ? "> " : "| ") + PrintableText.plain(name.utf8)
  }

  /// dtype and shape, of both if they differ.
  fileprivate var forms: String {
    let forms = [first, second].compactMap { $0?.form }
    return Set(forms).count == 1 ? forms[0] : forms.joined(separator: " | ")
  }

  /// What differs if dtype and shape do not.
  fileprivate var remark: String {
    first?.form == second?.form ? "bytes differ" : ""
  }
}

extension Distance {
  /// For a person, in columns.
  fileprivate var cells: [String] {
    ["\(differing) of \(count)"]
      + [absolute, relative, rootMeanSquare, cosine].map { Self.text($0.withFiveDigits) }
  }

  /// For a person.
  fileprivate var text: String {
    "\(differing) of \(PrintableText.counted(count, "element")) differ\(differing == 1 ? "s" : ""), largest absolute \(Self.text(absolute)), "
      + "relative \(Self.text(relative)), rms \(Self.text(rootMeanSquare)), cosine \(Self.text(cosine))"
  }

  /// A number as text; NaN without a sign, which means nothing.
  private static func text(_ number: Double) -> String { number.isNaN ? "nan" : String(number) }

  fileprivate func append(to json: inout JSONWriter) {
    json.raw(", \"elements\": ")
    json.number(count)
    json.raw(", \"differing\": ")
    json.number(differing)
    json.raw(", \"max_absolute\": ")
    json.number(absolute)
    json.raw(", \"max_relative\": ")
    json.number(relative)
    json.raw(", \"rms\": ")
    json.number(rootMeanSquare)
    json.raw(", \"cosine\": ")
    json.number(cosine)
  }
}
