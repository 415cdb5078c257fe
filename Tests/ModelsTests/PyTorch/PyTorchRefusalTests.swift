import Fixtures
import Testing

@testable import Models
import Safetensors

@Suite("Messages about PyTorch files") struct PyTorchRefusalTests: PyTorchSuite {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test("A message names the fault and the byte, and says what to do")
  func messages() throws {
    let evil = TorchFile(.list([.call(.global("posix", "system"), [.string("touch x")])]))
    let byte = evil.archive.offset(of: "archive/data.pkl") + 4
    #expect(
      try problem(evil.bytes)
        == "refused: its pickle calls 'posix.system' (byte \(byte + 28)), which no model needs; nothing was executed; "
        + "do not load this file with torch.load")
    #expect(
      try problem(TorchFile(.list([.global("posix", "system")])).bytes)?.hasPrefix(
        "refused: its pickle names 'posix.system' (byte \(byte)), which no model needs") == true)
    let escaping = TorchFile(.global("\u{1B}[2J", "os.x"))
    #expect(try problem(escaping.bytes)?.hasPrefix(#"refused: its pickle names '\u{1b}[2J.os.x'"#) == true)
    #expect(
      try problem(TorchFile(.raw([0x82, 1])).bytes)?.hasPrefix(
        "refused: its pickle has the opcode EXT1 (byte ")
        == true)
    var big = file("w")
    big.byteOrder = "big"
    #expect(try problem(big.bytes)?.hasPrefix("big-endian numbers (byte ") == true)
    var compressed = file("w").archive
    compressed.change("archive/data.pkl") { $0.method = 8 }
    #expect(
      try problem(compressed.bytes)?.hasPrefix("entry 'archive/data.pkl' of the archive is compressed (byte ")
        == true)
    for (name, clause) in [
      (".data/extern_modules", "torch.package"), ("serialized_exported_program.json", "torch.export"),
      ("model.json", "PyTorch 1.0 to 1.2"),
    ] {
      #expect(try problem(ZipFile([.init("m/\(name)", [])]).bytes)?.contains(clause) == true)
    }
    #expect(
      try problem(Array(file("w", isLegacy: true).bytes.dropLast()))?.hasPrefix("truncated at byte ") == true)
    #expect(try problem(Array(file("w").bytes.dropLast()))?.contains("no zip end record") == true)
  }

  @Test("Another zip archive, and a bare pickle, are identified")
  func foreign() throws {
    let path = try directory.write("x.pt", ZipFile([.init("word/document.xml", [1])]).bytes)
    let error = #expect(throws: ModelError.self) { try open(path) }
    #expect(error?.headerError == .foreignFormat(.zip))
    #expect(error?.problem.contains("no data.pkl is in it") == true)
    #expect(
      try problem(PickledValue.int(1).pickle + [UInt8](repeating: 0, count: 9))?.contains(
        "bare Python pickle") == true)
  }
}
