import Fixtures
import Testing

@testable import Safetensors

@Suite("Writing a header") struct HeaderWriterTests {
  private func tensor(_ name: String, _ dtype: DType, _ shape: [UInt64], at start: UInt64 = 0) -> Tensor {
    Tensor(
      name: TensorName(name), dtype: dtype, shape: shape[...],
      writtenTo: start..<start + (dtype.byteCount(of: shape[...]) ?? 0))
  }

  private func text(_ pieces: [[UInt8]]) -> String {
    String(decoding: pieces.dropFirst().flatMap { $0 }, as: UTF8.self)
  }

  @Test("Compact JSON, padded with spaces to 8 bytes, with the metadata first")
  func layout() {
    let tensors = [tensor("b", .f32, [2, 3]), tensor("a", .u8, [], at: 24)]
    let plain = HeaderWriter().pieces(tensors)
    let json =
      #"{"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
      + #""a":{"dtype":"U8","shape":[],"data_offsets":[24,25]}}"#
    #expect(text(plain) == json + String(repeating: " ", count: (8 - json.utf8.count % 8) % 8))
    #expect(plain[0] == [UInt8(text(plain).utf8.count), 0, 0, 0, 0, 0, 0, 0])

    let entry = ("k"[...], "v\""[...])
    let writer = HeaderWriter(metadata: [(ArraySlice(entry.0.utf8), ArraySlice(entry.1.utf8))])
    #expect(text(writer.pieces([tensors[0]])).hasPrefix(#"{"__metadata__":{"k":"v\""},"b":{"#))
    #expect(text(writer.pieces([])) == #"{"__metadata__":{"k":"v\""}}    "#)
    #expect(text(HeaderWriter().pieces([])) == "{}      ")
  }

  @Test(
    "An alignment moves the data to a multiple of it, and nowhere else",
    arguments: [8, 16, 64, 4096] as [UInt64])
  func alignment(alignment: UInt64) {
    for length in 0..<40 {
      let name = String(repeating: "x", count: length)
      let pieces = HeaderWriter().pieces([tensor(name, .u8, [1])], alignment: alignment)
      let size = UInt64(pieces.reduce(0) { $0 + $1.count })
      let used = text(pieces).utf8.count - text(pieces).reversed().prefix { $0 == " " }.count + 8
      #expect(size % alignment == 0 && size >= UInt64(used) && size - UInt64(used) < alignment)
    }
  }

  @Test("Wider types come first, in the order of the format's list, then names by their bytes")
  func order() {
    let names = TensorData.bitSizes.map(\.key)
    let tensors =
      DType.allCases.map { tensor($0.name, $0, [0]) } + [tensor("a", .f32, [0]), tensor("é", .f32, [0])]
    let sorted = tensors.shuffled().sorted { $0.isWritten(before: $1) }
    var expected = Array(names.reversed())
    let place = expected.firstIndex(of: "F32") ?? 0
    expected.replaceSubrange(place...place, with: ["F32", "a", "é"])
    #expect(sorted.map { String(decoding: $0.name.utf8, as: UTF8.self) } == expected)
  }

  @Test("A written header is read back, for any names")
  func roundTrip() throws {
    var generator = SeededGenerator(seed: 11)
    let limits: [UInt32] = [0x80, 0x800, 0x11_0000]
    for _ in 0..<200 {
      var names = Set<[UInt8]>()
      for _ in 0..<Int.random(in: 0...6, using: &generator) {
        let scalars = (0..<Int.random(in: 0...9, using: &generator)).compactMap { _ in
          Unicode.Scalar(
            UInt32.random(in: 0..<limits[Int.random(in: 0..<3, using: &generator)], using: &generator))
        }
        var text = ""
        text.unicodeScalars.append(contentsOf: scalars)
        names.insert(Array(text.utf8))
      }
      var end: UInt64 = 0
      let tensors = names.map { name in
        let count = UInt64.random(in: 0...5, using: &generator)
        defer { end += count }
        return Tensor(
          name: TensorName(utf8: name[...]), dtype: .u8, shape: [count], writtenTo: end..<end + count)
      }
      let pieces = HeaderWriter().pieces(tensors)
      let json = pieces.dropFirst().flatMap { $0 }
      let header = try Header(json: json.span, fileSize: UInt64(8 + json.count) + end)
      #expect(Set((0..<header.count).map { Array(header[$0].name.utf8) }) == names)
      for tensor in tensors {
        let index = try #require(header.index(of: tensor.name))
        #expect(header[index].dataRange == tensor.dataRange && header[index].shape == tensor.shape)
      }
    }
  }
}
