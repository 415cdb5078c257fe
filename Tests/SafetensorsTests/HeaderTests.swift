import Fixtures
import Safetensors
import Testing

@Suite("Header") struct HeaderTests {
  @Test("Tensors come in the order of their names' bytes, wherever their data and their entries are")
  func order() throws {
    let names = ["b", "a", "é", "e\u{301}", "Z", "", "a.10", "a.9", "a/b"]
    var file = SafetensorsFile(names.map { .init($0, "U8", [3]) })
    file.dataOrder = [3, 1, 8, 0, 2, 7, 4, 6, 5]
    let header = try readHeader(file.bytes)
    let found = (0..<header.count).map { String(decoding: header.name(at: $0).utf8, as: UTF8.self) }
    #expect(
      found.map { Array($0.utf8) }
        == ["", "Z", "a", "a.10", "a.9", "a/b", "b", "e\u{301}", "é"].map { Array($0.utf8) })

    let bytes = file.bytes
    for tensor in file.tensors {
      let index = try #require(header.index(of: TensorName(utf8: tensor.name[...])))
      let range = header[index].dataRange
      let start = Int(header.dataStart)
      #expect(Array(bytes[start + Int(range.lowerBound)..<start + Int(range.upperBound)]) == tensor.data)
    }
  }

  @Test("A missing name has no index")
  func missingName() throws {
    let header = try readHeader(SafetensorsFile(.init("b", "U8", [1]), .init("d", "U8", [1])).bytes)
    #expect(header.index(of: "b") == 0)
    #expect(header.index(of: "d") == 1)
    for name: TensorName in ["", "a", "c", "e", "bb", "B"] { #expect(header.index(of: name) == nil) }
    #expect(try readHeader(SafetensorsFile([]).bytes).index(of: "") == nil)
  }

  @Test("The data may begin at any byte", arguments: 0..<9)
  func oddStarts(_ padding: Int) throws {
    let file = SafetensorsFile([.init("w", "F64", [2])], metadata: ["k": "v"], padding: padding)
    let header = try readHeader(file.bytes)
    #expect(Int(header.dataStart) == file.dataStart)
    #expect(header[0].dataRange == 0..<16)
  }

  @Test("Metadata comes in the order of its keys, its values left as they are")
  func metadata() throws {
    let file = SafetensorsFile(
      [], metadata: ["z": "", "": "empty key", "a\n\"": "\u{1B}\\", "é": "{\"x\":1}"])
    let metadata = try readHeader(file.bytes).metadata.map { Array($0.key) + [0xFF] + Array($0.value) }
    let expected = [("", "empty key"), ("a\n\"", "\u{1B}\\"), ("z", ""), ("é", "{\"x\":1}")]
    #expect(metadata == expected.map { Array($0.0.utf8) + [0xFF] + Array($0.1.utf8) })
  }

  @Test("Bytes after the last tensor are accepted leniently, and counted; missing ones never are")
  func trailingBytes() throws {
    var file = SafetensorsFile(.init("w", "U8", [4]))
    file.trailing = [0, 0, 0, 0]
    #expect(throws: HeaderError.self) { try readHeader(file.bytes) }
    let header = try readHeader(file.bytes, lenient: true)
    #expect(header.trailingBytes == 4)
    #expect(header[0].dataRange == 0..<4)
    #expect(throws: HeaderError.self) { try readHeader(Array(file.bytes.dropLast(5)), lenient: true) }
  }

  @Test("A shape of 2^60 elements costs no memory")
  func hugeClaims() {
    let size = 1 << 60
    let header =
      #"{"a":{"dtype":"U8","shape":[\#(size)],"data_offsets":[0,\#(size)]},"#
      + #""b":{"dtype":"F4","shape":[1073741824,1073741824],"data_offsets":[\#(size),\#(size + size / 2)]}}"#
    let file = SafetensorsFile(header: header).bytes
    let error = #expect(throws: HeaderError.self) { try readHeader(file) }
    let expected = UInt64(file.count + size + size / 2)
    #expect(error == .metadataIncompleteBuffer(expected: expected, fileSize: UInt64(file.count)))
  }

  @Test("100,000 tensors are read, and each is found by its name")
  func manyTensors() throws {
    let count = 100_000
    var json = Array("{".utf8)
    for index in 0..<count {
      // Neither names nor offsets are sorted.
      let place = (index * 7919) % count
      if index > 0 { json.append(UInt8(ascii: ",")) }
      json +=
        #""layers.\#(index).w":{"dtype":"U8","shape":[1],"data_offsets":[\#(place),\#(place + 1)]}"#.utf8
    }
    json.append(UInt8(ascii: "}"))
    let header = try Header(json: json.span, fileSize: UInt64(8 + json.count + count))
    #expect(header.count == count)
    var wrong = 0
    for index in 0..<count {
      guard let found = header.index(of: TensorName("layers.\(index).w")) else {
        wrong += 1
        continue
      }
      if header[found].dataRange.lowerBound != UInt64((index * 7919) % count) { wrong += 1 }
    }
    #expect(wrong == 0)
  }
}
