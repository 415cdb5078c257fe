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
      let name = PrintableText.plain(difference.name.utf8)
      switch (difference.first, difference.second) {
      case (let first?, let second?):
        let (left, right) = (first.form, second.form)
        let distance = difference.distance.map { "  " + $0.text } ?? ""
        if left == right { return "| \(name)  \(left)\(distance.isEmpty ? "  bytes differ" : distance)\n" }
        return "| \(name)  \(left) | \(right)\(distance)\n"
      case (let first?, nil): return "< \(name)  \(first.form)\n"
      case (nil, let second?): return "> \(name)  \(second.form)\n"
      case (nil, nil): return ""
      }
    }.joined()
  }

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

extension Distance {
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
