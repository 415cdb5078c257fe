import Fixtures

/// A random valid header, spelled at random, and its expected contents.
struct RandomHeader {
  struct Tensor: Equatable {
    var name: [UInt8]
    var dtype: String
    var shape: [UInt64]
    var range: Range<UInt64>
  }

  /// Sorted by the bytes of their names.
  private(set) var tensors: [Tensor] = []
  /// Sorted by the bytes of their keys.
  private(set) var metadata: [(key: [UInt8], value: [UInt8])] = []
  /// The header's JSON.
  private(set) var json: [UInt8] = []
  /// The size of the data, in bytes.
  private(set) var dataSize: UInt64 = 0

  /// The whole file, with zeros as data.
  var file: [UInt8] {
    SafetensorsFile(header: json, data: Array(repeating: 0, count: Int(dataSize))).bytes
  }

  private var generator: SeededGenerator

  init(seed: UInt64) {
    generator = SeededGenerator(seed: seed)
    chooseTensors(Int.random(in: 0...8, using: &generator))
    for key in uniqueNames(Int.random(in: 0...3, using: &generator)) { metadata.append((key, name())) }

    var entries = tensors.shuffled(using: &generator).map { string($0.name) + pair(":") + describe($0) }
    if !metadata.isEmpty || generator.oneIn(4) {
      let pairs = metadata.shuffled(using: &generator).map { string($0.key) + pair(":") + string($0.value) }
      let position = Int.random(in: 0...entries.count, using: &generator)
      entries.insert(
        string(Array("__metadata__".utf8)) + pair(":") + container("{", pairs, "}"), at: position)
    }
    json = space() + container("{", entries, "}") + space()
  }

  // MARK: Contents

  private mutating func chooseTensors(_ count: Int) {
    for name in uniqueNames(count) {
      let (dtype, width) = TensorData.bitSizes.randomElement(using: &generator) ?? ("U8", 8)
      var shape = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
        UInt64.random(in: 0...5, using: &generator)
      }
      if shape.reduce(1, *) * UInt64(width) % 8 != 0 { shape.append(4) }
      tensors.append(Tensor(name: name, dtype: dtype, shape: shape, range: 0..<0))
    }
    // The data has a random order.
    for index in tensors.indices.shuffled(using: &generator) {
      let width = TensorData.bitSizes.first { $0.key == tensors[index].dtype }?.value ?? 8
      let end = dataSize + tensors[index].shape.reduce(1, *) * UInt64(width) / 8
      tensors[index].range = dataSize..<end
      dataSize = end
    }
  }

  /// Different names, sorted by their bytes.
  private mutating func uniqueNames(_ count: Int) -> [[UInt8]] {
    Set((0..<count).map { _ in name() }).sorted { $0.lexicographicallyPrecedes($1) }
  }

  private mutating func name() -> [UInt8] {
    let alphabet: [Unicode.Scalar] = [
      "a", "b", "w", ".", "/", "_", "0", "1", "é", "e", "\u{301}", "中", "😀", "\"", "\\", "\n", "\0", "\u{1B}",
      "\u{7F}", "\u{80}", "\u{202E}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10FFFF}", " ", "%",
    ]
    var name = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0...12, using: &generator) {
      name.append(alphabet.randomElement(using: &generator) ?? "a")
    }
    return Array(String(name).utf8)
  }

  // MARK: Spelling

  private mutating func describe(_ tensor: Tensor) -> [UInt8] {
    var fields = [
      field("dtype", string(Array(tensor.dtype.utf8))),
      field("shape", container("[", tensor.shape.map { Array("\($0)".utf8) }, "]")),
      field(
        "data_offsets",
        container("[", [tensor.range.lowerBound, tensor.range.upperBound].map { Array("\($0)".utf8) }, "]")),
    ]
    while generator.oneIn(4) { fields.append(field("x-unknown", anyValue(depth: 0))) }
    return container("{", fields.shuffled(using: &generator), "}")
  }

  private mutating func field(_ name: String, _ value: [UInt8]) -> [UInt8] {
    string(Array(name.utf8)) + pair(":") + value
  }

  private mutating func anyValue(depth: Int) -> [UInt8] {
    switch Int.random(in: 0...(depth < 4 ? 5 : 3), using: &generator) {
    case 0: return Array((["null", "true", "false"].randomElement(using: &generator) ?? "null").utf8)
    case 1: return string(name())
    case 2: return Array("\(Int64.random(in: .min ... .max, using: &generator))".utf8)
    case 3: return Array("\(Double.random(in: -1e300...1e300, using: &generator))".utf8)
    case 4: return container("[", (0..<2).map { _ in anyValue(depth: depth + 1) }, "]")
    default: return container("{", (0..<2).map { _ in field("k", anyValue(depth: depth + 1)) }, "}")
    }
  }

  private mutating func container(_ open: Character, _ members: [[UInt8]], _ close: Character) -> [UInt8] {
    var text = Array(String(open).utf8) + space()
    for (position, member) in members.enumerated() {
      if position > 0 { text += pair(",") }
      text += member
    }
    return text + space() + Array(String(close).utf8)
  }

  private mutating func pair(_ mark: String) -> [UInt8] { space() + Array(mark.utf8) + space() }

  private mutating func space() -> [UInt8] {
    guard generator.oneIn(4) else { return [] }
    return (0..<Int.random(in: 1...3, using: &generator)).map { _ in
      [0x20, 0x09, 0x0A, 0x0D].randomElement(using: &generator) ?? 0x20
    }
  }

  private static let shortEscapes: [Unicode.Scalar: String] = [
    "\"": "\\\"", "\\": "\\\\", "/": "\\/", "\n": "\\n",
  ]

  /// A string literal. Some characters are escaped, in random ways that JSON allows.
  private mutating func string(_ bytes: [UInt8]) -> [UInt8] {
    var text = "\""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      if let short = Self.shortEscapes[scalar], scalar != "/" || generator.oneIn(2) {
        text += short
      } else if scalar.value < 0x20 || generator.oneIn(8) {
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16, uppercase: generator.oneIn(2))
          text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      } else {
        text.unicodeScalars.append(scalar)
      }
    }
    return Array(text.utf8) + [UInt8(ascii: "\"")]
  }
}
