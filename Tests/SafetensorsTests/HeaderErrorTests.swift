import Fixtures
import Safetensors
import Testing

@Suite("Messages about broken files") struct HeaderErrorTests {
  /// The error message for a file, or a text that says that there is none.
  private func message(_ file: SafetensorsFile) -> String { message(file.bytes) }

  private func message(_ bytes: [UInt8]) -> String {
    do throws(HeaderError) {
      _ = try readHeader(bytes)
      return "accepted"
    } catch {
      return error.description
    }
  }

  @Test("A truncated download is reported with the number of missing bytes")
  func truncated() {
    let file = SafetensorsFile([.init("a", "F32", [100]), .init("b", "F32", [100])], padding: 0)
    #expect(file.dataStart == 125)
    #expect(
      message(Array(file.bytes.dropLast(123)))
        == "truncated by 123 bytes: the last tensor ends at byte 925, the file at byte 802; download it again"
    )
    #expect(
      message(Array(file.bytes.prefix(100)))
        == "truncated by at least 25 bytes: the header ends at byte 125, the file at byte 100; download it again"
    )
  }

  @Test("Unexpected bytes at the end are counted, with the option that ignores them")
  func tooLong() {
    var file = SafetensorsFile([.init("a", "U8", [2])], padding: 0)
    file.trailing = [0, 0, 0, 0]
    #expect(
      message(file)
        == "4 unexpected bytes after the last tensor, which ends at byte \(file.dataStart + 2) of "
        + "\(file.dataStart + 6); use --lenient to ignore them")
  }

  @Test(
    "A file of another format is identified",
    arguments: [
      (
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 135\n", "Git LFS pointer",
        "git lfs pull"
      ),
      ("<!DOCTYPE html>\n<html lang=\"en\">", "HTML page", "error or login page"),
      ("\u{FEFF}\r\n <HTML><head>", "HTML page", "error or login page"),
      ("<?xml version=\"1.0\"?>", "XML text", "server's error"),
      ("<Error><Code>NoSuchKey</Code></Error>", "XML text", "server's error"),
      (#"{"error":"Repository not found"}"#, "JSON text", "server's error"),
      ("# xet version 0\nfilesize = 123456\n", "xet pointer", "hf download"),
      ("Invalid username or password.", "this is text", "server's error"),
      ("(dp0\nVa\np1\n(lp2\nI1\na.", "Python pickle", ""), ("%PDF-1.7\n%\u{1}", "PDF", ""),
      ("\u{7F}ELF\u{2}\u{1}\u{1}\u{0}\u{0}", "ELF", ""), ("Rar!\u{1A}\u{7}\u{1}\u{0}", "RAR", "unpack"),
      (#"{"metadata": {"total_size": 5}, "weight_map": {}}"#, "JSON text", "model.safetensors.index.json"),
      ("PK\u{3}\u{4}\u{0}\u{0}\u{8}\u{8}", "zip archive", "PyTorch"),
      ("GGUF\u{3}\u{0}\u{0}\u{0}", "GGUF", ""),
    ])
  func foreignFormats(_ text: String, _ name: String, _ advice: String) {
    let message = message(Array(text.utf8))
    #expect(message.contains(name))
    #expect(message.contains(advice) || advice.isEmpty)
  }

  @Test(
    "A binary file of another format is identified",
    arguments: [
      ([0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46], "Python pickle"),
      ([0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A, 0x1A, 0x0A], "HDF5"),
      ([0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 0x01, 0x00], "NumPy array"),
      ([0x1F, 0x8B, 0x08, 0x08, 0x11, 0x22, 0x33, 0x64], "gzip"),
      ([0x28, 0xB5, 0x2F, 0xFD, 0x04, 0x00, 0x11, 0x22], "Zstandard"),
      ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00, 0x00, 0x04], "xz"),
      ([0x42, 0x5A, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59], "bzip2"),
      ([0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C, 0x00, 0x04], "7z"),
      ([0x81, 0xA6, 0x70, 0x61, 0x72, 0x61, 0x6D, 0x73, 0x81], "MessagePack"),
      ([0x08, 0x08, 0x12, 0x07, 0x70, 0x79, 0x74, 0x6F, 0x72, 0x63, 0x68], "ONNX"),
      ([0x1C, 0x00, 0x00, 0x00, 0x54, 0x46, 0x4C, 0x33, 0x00], "TensorFlow Lite"),
      ([0x06, 0x00, 0x00, 0x00, 0x0A, 0x00, 0x57, 0x68, 0x69, 0x73, 0x70, 0x65, 0x72], "CTranslate2"),
      ([0x6C, 0x6D, 0x67, 0x67, 0x00, 0x00, 0x00, 0x00], "GGML"),
    ] as [([UInt8], String)])
  func foreignBinaries(_ bytes: [UInt8], _ name: String) { #expect(message(bytes).contains(name)) }

  @Test("Noise is reported with its absurd header length")
  func noise() {
    #expect(
      message([1, 2, 3, 4, 5, 6, 7, 8])
        == "not a safetensors file: its first 8 bytes give a header length of 578437695752307201 bytes; the limit is 100000000"
    )
    #expect(
      message([1, 2, 3])
        == "not a safetensors file: it has 3 bytes, and the length of the header alone takes 8")
  }

  @Test("A header that is not UTF-8 or not JSON is reported with the byte in the file")
  func notJSON() {
    #expect(message(.init(header: Array("{\"a".utf8) + [0xFF])) == "invalid UTF-8 in the header at byte 11")
    #expect(
      message(.init(header: "{\"a\":7}"))
        == "invalid header at byte 13 in tensor 'a': expected an object with dtype, shape and data_offsets, "
        + "found '7'")
    #expect(
      message(.init(header: "{} x")) == "invalid header at byte 11: expected nothing more, found 'x'"
    )
    #expect(
      message(.init(header: "{"))
        == "invalid header at byte 9: expected a key in double quotes, found the end of the text")
    #expect(
      message(.init(header: "\u{FEFF}{}"))
        == "invalid header at byte 8: expected the header's '{', found the non-ASCII byte 0xef")
    #expect(message(.init(header: #"{"__metadata__":{},  "__metadata__":{}}"#)).contains("at byte 29"))
    #expect(
      message(.init(header: #"{"w": {"dtype":"U8", "dtype":"U8"}}"#))
        == "invalid header at byte 29 in tensor 'w': duplicate field")
    for field in ["dtype", "shape", "data_offsets"] {
      let fields = [#""dtype":"U8""#, #""shape":[0]"#, #""data_offsets":[0,0]"#]
      let rest = fields.filter { !$0.contains(field) }.joined(separator: ",")
      #expect(
        message(.init(header: #"{"w": {\#(rest)}}"#))
          == "invalid header at byte 14 in tensor 'w': no \(field)")
    }
  }

  @Test("A misplaced tensor is named, with its byte in the header and its expected offset")
  func layout() {
    func tensors(_ second: String) -> SafetensorsFile {
      .init(
        header: #"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b.w":{"dtype":"U8",\#(second)}}"#,
        data: Array(repeating: 0, count: 16))
    }
    #expect(
      message(tensors(#""shape":[2],"data_offsets":[10,12]"#))
        == "tensor 'b.w' (header byte 61) leaves a gap after the previous tensor: it begins at data byte 10, not at 8"
    )
    #expect(
      message(tensors(#""shape":[8],"data_offsets":[4,12]"#))
        == "tensor 'b.w' (header byte 61) overlaps the previous tensor: it begins at data byte 4, not at 8")
    #expect(
      message(tensors(#""shape":[8],"data_offsets":[8,4]"#))
        == "tensor 'b.w' (header byte 61) ends at data byte 4, before it begins at 8")
    #expect(
      message(tensors(#""shape":[9],"data_offsets":[8,16]"#))
        == "tensor 'b.w' (header byte 61) has 8 bytes by its data_offsets, but 9 by its dtype and shape")
    // The number of bytes of the second fits.
    for shape in ["4294967296,4294967296", "9223372036854775807"] {
      #expect(
        message(tensors(#""shape":[\#(shape)],"data_offsets":[8,16]"#))
          == "tensor 'b.w' (header byte 61) has a shape whose number of elements or bits does not fit in 64 bits"
      )
    }
    #expect(
      message(.init(header: #"{"q": {"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, data: [0, 0]))
        == "tensor 'q' (header byte 9) has 12 bits, which is not a whole number of bytes")
  }

  @Test("A duplicate name is reported with the byte of its second entry")
  func duplicates() {
    let entry = #"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#
    #expect(
      message(.init(header: #"{"a":\#(entry), "b":\#(entry),  "\u0061":\#(entry)}"#))
        == "duplicate tensor 'a' (second entry at byte 116)")
    #expect(
      message(.init(header: #"{"__metadata__": {"k":"1", "l":"2", "k":"3"}}"#))
        == "duplicate key 'k' in __metadata__ (second entry at byte 44)")
  }

  @Test("Every error of the reference has the reference's name")
  func referenceNames() {
    #expect(HeaderError.foreignFormat(.zip).referenceName == "HeaderTooLarge")
    #expect(HeaderError.duplicateTensor(offset: 0, tensor: "a").referenceName == nil)
    #expect(HeaderError.duplicateMetadataKey(offset: 0, key: "a").referenceName == nil)
    #expect(
      HeaderError.metadataIncompleteBuffer(expected: nil, fileSize: 0).description
        == "truncated: its tensors end beyond 2^64 bytes")
  }

  @Test("A hostile name cannot act on the terminal, reverse the text or flood the screen")
  func hostileNames() {
    let names = [
      "\u{1B}]0;owned\u{7}\u{1B}[2J", "\u{202E}gpj.exe", "a\r\n\r\nstmount: all is well", "x\u{0}y",
      "\u{9B}31m", "\u{2066}\u{200B}\u{FEFF}", "\u{2028}\u{2029}",
      String(repeating: "\u{1B}", count: 100_000),
      String(repeating: "é", count: 50_000),
    ]
    for name in names {
      let file = SafetensorsFile([.init(name, "U8", [1], data: [])])
      let message = message(file)
      #expect(message.contains("has 0 bytes") || message.contains("at byte"))
      #expect(!message.unicodeScalars.contains(where: PrintableText.isUnsafe))
      #expect(message.utf8.count < 1200)
    }
  }
}
