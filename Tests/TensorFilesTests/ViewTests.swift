import Fixtures
import SystemPackage
import Testing

@testable import Models
@testable import Safetensors
@testable import TensorFiles

@Suite("Contents of files in views") struct ViewTests {
  /// The contents of a view of each tensor of a file, by the tensor's name.
  private func layouts(_ view: View, _ file: SafetensorsFile) throws -> [String: FileLayout] {
    let sample = try SampleModel(file)
    let shard = try sample.model.shards[0]
    let writer = HeaderWriter(metadata: shard.header.metadata)
    var layouts: [String: FileLayout] = [:]
    for index in 0..<shard.header.count {
      let tensor = shard.header[index]
      let raw = try #require(FileLayout(of: tensor, in: shard))
      layouts[String(decoding: tensor.name.utf8, as: UTF8.self)] =
        view.layout(of: tensor, raw: raw, writer: writer)
    }
    return layouts
  }

  /// The header of the view of a file's only tensor.
  private func header(_ view: View, _ file: SafetensorsFile) throws -> [UInt8] {
    try #require(try layouts(view, file).values.first).header
  }

  private static let all = SafetensorsFile(
    TensorData.bitSizes.map { SafetensorsFile.Tensor($0.key, $0.key, [2, 4]) })

  // MARK: - NPY

  private func dictionary(_ dtype: String, _ shape: [Int]) throws -> String {
    let header = try header(.npy, SafetensorsFile(.init("t", dtype, shape)))
    #expect(header.starts(with: [0x93] + "NUMPY".utf8 + [1, 0]))
    #expect(header.count % 64 == 0)
    #expect(Int(header[8]) + Int(header[9]) << 8 == header.count - 10)
    #expect(header.last == UInt8(ascii: "\n"))
    let text = String(decoding: header.dropFirst(10).dropLast(), as: UTF8.self)
    return String(text.reversed().drop { $0 == " " }.reversed())
  }

  @Test("An NPY header is what NumPy writes for the dtype and shape")
  func npy() throws {
    #expect(
      try dictionary("F32", [2, 3]) == "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }")
    #expect(try dictionary("BOOL", [7]) == "{'descr': '|b1', 'fortran_order': False, 'shape': (7,), }")
    #expect(try dictionary("C64", []) == "{'descr': '<c8', 'fortran_order': False, 'shape': (), }")
    #expect(
      try dictionary("U16", [0, 1]) == "{'descr': '<u2', 'fortran_order': False, 'shape': (0, 1), }")
    #expect(try dictionary("BF16", [1]) == "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }")
  }

  @Test(
    "Dtypes that NumPy has are kept, and all others become float32", arguments: TensorData.bitSizes.map(\.key)
  )
  func npyTypes(dtype: String) throws {
    let own = [
      "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "I32": "<i4",
      "U32": "<u4",
      "F32": "<f4", "C64": "<c8", "F64": "<f8", "I64": "<i8", "U64": "<u8",
    ]
    let layout = try #require(try layouts(.npy, Self.all)[dtype])
    #expect(try dictionary(dtype, [2, 4]).contains("'\(own[dtype] ?? "<f4")'"))
    let size = own[dtype] == nil ? 32 : TensorData.byteCount(dtype, [2, 4])
    #expect(layout.byteCount == UInt64(layout.header.count) + UInt64(size))
    #expect(layout.isWidened == (own[dtype] == nil))
  }

  @Test("A tensor with more dimensions than NumPy allows has no NumPy file")
  func manyDimensions() throws {
    for (rank, exists) in [(64, true), (65, false)] {
      let file = SafetensorsFile(.init("t", "U8", Array(repeating: 1, count: rank)))
      #expect((try layouts(.npy, file)["t"] != nil) == exists)
    }
  }

  // MARK: - float32

  @Test("The .f32 view has exactly the dtypes that fit into float32 without loss")
  func f32Types() throws {
    let layouts = try layouts(.f32, Self.all)
    #expect(
      Set(layouts.keys) == [
        "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3",
        "F6_E3M2",
        "F4",
      ])
    for (dtype, layout) in layouts {
      #expect(layout.byteCount == 32, "\(dtype)")
      #expect(layout.header.isEmpty)
      #expect(layout.isWidened == (dtype != "F32"))
    }
  }

  @Test("A widened file that would exceed the maximum size of a file is absent")
  func tooLarge() throws {
    // A byte has two F4 elements, which become eight bytes of float32.
    let tensor = { (count: UInt64) in
      Tensor(name: TensorName("t"), dtype: .f4, shape: [count], dataRange: 0..<count / 2)
    }
    for (count, exists) in [(1 << 60, true), (1 << 61, false), (1 << 63, false)] as [(UInt64, Bool)] {
      let raw = try #require(FileLayout([.computed(Zeros(byteCount: count / 2))]))
      let layout = View.f32.layout(of: tensor(count), raw: raw, writer: HeaderWriter())
      #expect((layout != nil) == exists, "\(count)")
    }
  }

  // MARK: - safetensors

  @Test("A single-tensor model has the tensor's name and its source's metadata, as the reference writes them")
  func safetensors() throws {
    let file = SafetensorsFile(
      [.init("a/\"b\"\n", "BF16", [2, 3])], metadata: ["format": "pt", "a": "\\\u{1}é\u{202E}"])
    let header = try header(.safetensors, file)
    let json =
      #"{"__metadata__":{"a":"\\\u0001é"# + "\u{202E}"
      + #"","format":"pt"},"a/\"b\"\n":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}"#
    let spaces = (8 - json.utf8.count % 8) % 8
    #expect(header.count == 8 + json.utf8.count + spaces)
    #expect(header.prefix(8).elementsEqual([UInt8(header.count - 8), 0, 0, 0, 0, 0, 0, 0]))
    #expect(
      String(decoding: header.dropFirst(8), as: UTF8.self) == json + String(repeating: " ", count: spaces))
  }

  @Test("Single-tensor models of a model without metadata have none")
  func withoutMetadata() throws {
    let header = try header(.safetensors, SafetensorsFile(.init("t", "U8", [])))
    #expect(
      String(decoding: header.dropFirst(8), as: UTF8.self)
        == #"{"t":{"dtype":"U8","shape":[],"data_offsets":[0,1]}} "#.padded)
  }

  @Test(
    "The header reader opens each single-tensor model and finds the same tensor",
    arguments: 0..<20 as Range<UInt64>)
  func readBack(seed: UInt64) throws {
    let names = HostileNames.names(seed: seed)
    let file = SafetensorsFile(
      names.map { SafetensorsFile.Tensor(name: $0, "F32", [3]) }, metadata: ["k": "\u{0}\u{1F}\"\\/é\u{7F}"])
    for (name, layout) in try layouts(.safetensors, file) {
      let header = layout.header
      let json = Array(header[8...])
      let read = try Header(json: json.span, fileSize: layout.byteCount, allowsTrailingBytes: false)
      #expect(read.count == 1)
      #expect(read[0].name == TensorName(name))
      #expect(read.metadata.map { Array($0.value) } == [Array("\u{0}\u{1F}\"\\/é\u{7F}".utf8)])
      #expect(header.count % 8 == 0)
    }
  }

  @Test("Any part of the header of a tensor with many dimensions is as the reference writes it")
  func longShape() throws {
    var generator = SeededGenerator(seed: 1)
    for rank in [65, 4095, 4096, 4097, 20_000] {
      // Ranges of all lengths, in any order. The last one makes the tensor empty.
      let shape = (1..<rank).map { _ in [1, 1, 10, 100_000].randomElement(using: &generator) ?? 1 } + [0]
      let file = SafetensorsFile(.init("t", "U8", shape.reversed()))
      let layout = try #require(try layouts(.safetensors, file)["t"])
      let text = shape.reversed().map(String.init).joined(separator: ",")
      let json = #"{"t":{"dtype":"U8","shape":["# + text + #"],"data_offsets":[0,0]}}"#
      let whole = try layout.bytes(0..<layout.byteCount)
      #expect(whole.count % 8 == 0 && whole.dropFirst(8).starts(with: json.utf8))
      #expect(whole.dropFirst(8 + json.utf8.count).allSatisfy { $0 == UInt8(ascii: " ") })
      #expect(layout.header.count < 200, "the text of the shape is kept")
      try layout.expectWindows(of: whole, &generator)
    }
  }

  @Test("Reading a header of many dimensions in pieces takes time linear in the dimensions")
  func manyPieces() throws {
    let costs = try Costs(from: 20_000) { rank in
      let file = SafetensorsFile(.init("t", "U8", Array(repeating: 1, count: rank - 1) + [0], data: []))
      let layout = try #require(try layouts(.safetensors, file)["t"])
      for start in stride(from: 0, to: layout.byteCount, by: 4096) {
        _ = try layout.bytes(start..<min(start + 4096, layout.byteCount))
      }
    }
    #expect(costs.areProportional, "\(costs)")
  }

  // MARK: - Windows

  @Test("Any part of a file equals that part of the whole", arguments: View.all.map(\.number))
  func windows(number: UInt8) throws {
    let view = View.all[Int(number)]
    var generator = SeededGenerator(seed: UInt64(number))
    for layout in try layouts(view, Self.all).values {
      try layout.expectWindows(of: layout.bytes(0..<layout.byteCount), &generator)
    }
  }
}

/// Computed zeros.
private struct Zeros: ComputedElements {
  let byteCount: UInt64
  func sources(of range: Range<UInt64>) -> [FileRange] { [] }
  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    for place in 0..<target.byteCount { target.storeBytes(of: 0, toByteOffset: place, as: UInt8.self) }
  }
}

extension FileLayout {
  /// The bytes before the tensor's own bytes.
  fileprivate var header: [UInt8] {
    segments.flatMap { segment -> [UInt8] in if case .memory(let bytes) = segment { Array(bytes) } else { [] }
    }
  }

  fileprivate var isWidened: Bool {
    segments.contains { if case .computed(let elements) = $0 { elements is WidenedElements } else { false } }
  }
}

extension String {
  /// The text with spaces at the end, so that a header's length is a multiple of 8.
  fileprivate var padded: String {
    let text = String(reversed().drop { $0 == " " }.reversed())
    return text + String(repeating: " ", count: (8 - text.utf8.count % 8) % 8)
  }
}
