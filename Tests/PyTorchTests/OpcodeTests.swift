import Fixtures
import Testing

@testable import PyTorch

@Suite("The opcodes of pickles") struct OpcodeTests {
  private static func text(_ line: String) -> [UInt8] { Array((line + "\n").utf8) }

  /// The value of a pickle of these opcodes.
  private func value(_ opcodes: [UInt8]) throws -> (pickle: Pickle, value: Pickle.Value) {
    let pickle = try PickleMachine.read(opcodes + [0x2E], at: 0)
    return (pickle, pickle.root)
  }

  @Test(
    "Opcodes that no writer of models uses are refused by name",
    // EXT1, EXT2, EXT4, PERSID, DUP, NEXT_BUFFER, READONLY_BUFFER, and two bytes that are not opcodes.
    arguments: [0x82, 0x83, 0x84, 0x50, 0x32, 0x97, 0x98, 0x00, 0xFF])
  func refused(byte: UInt8) {
    let (error, start) = refusal(of: .raw([byte]))
    #expect(error == FormatError(at: start + 2, .opcode(byte)))
  }

  @Test(
    "Integers of every protocol are read, decimal digits included",
    arguments: [
      (text("I7"), 7), (text("I-7"), -7), (text("L123L"), 123), (text("L-9223372036854775808L"), .min),
      ([0x4A, 0xFF, 0xFF, 0xFF, 0xFF], -1), ([0x4B, 200], 200), ([0x4D, 1, 2], 513), ([0x8A, 0], 0),
      ([0x8A, 1, 0xFF], -1),
      ([0x8A, 8] + [UInt8](repeating: 0xFF, count: 7) + [0x7F], .max), ([0x8B, 2, 0, 0, 0, 0, 1], 256),
    ] as [([UInt8], Int64)])
  func integers(opcodes: [UInt8], expected: Int64) throws {
    let (pickle, value) = try value(opcodes)
    #expect(pickle.integer(value) == expected)
  }

  @Test("True and False are not integers, even in protocol 0; larger numbers and floats are not sizes")
  func numbers() throws {
    #expect(try value(Self.text("I01")).value == .bool(true))
    #expect(try value(Self.text("I00")).value == .bool(false))
    for opcodes in [
      Self.text("F0.5"), [0x47] + [UInt8](repeating: 0, count: 8), Self.text("L9223372036854775808L"),
      [0x8A, 9] + [UInt8](repeating: 1, count: 9),
    ] { #expect(try value(opcodes).value == .number) }
  }

  @Test(
    "Text of every protocol is read, including the escapes of protocol 0",
    arguments: [
      (text(#"S'w\x41\101\n\'\\'"#), "wAA\n'\\"), (text(#"S"a\qb""#), #"a\qb"#),
      (text(#"Vw\u00e9\U0001F600"#), "wé😀"),
      (text(#"V\\u0041"#), #"\\u0041"#), ([0x56, 0xE9, 0x0A], "é"), ([0x54, 1, 0, 0, 0, 0x77], "w"),
      ([0x55, 1, 0x77], "w"),
      ([0x58, 1, 0, 0, 0, 0x77], "w"), ([0x8C, 1, 0x77], "w"), ([0x8D, 1, 0, 0, 0, 0, 0, 0, 0, 0x77], "w"),
    ] as [([UInt8], String)])
  func texts(opcodes: [UInt8], expected: String) throws {
    let (pickle, value) = try value(opcodes)
    #expect(pickle.string(value).map { String(decoding: $0, as: UTF8.self) } == expected)
  }

  @Test(
    "Text that Python would not write is refused",
    arguments: ["Sw", "S'w", "S'", #"S'\x4'"#, #"V\u12"#, #"V\ud800"#, #"V\U7FFFFFFF"#])
  func malformedText(line: String) {
    #expect(throws: FormatError.self) { try value(Self.text(line)) }
  }

  @Test("BINBYTES, SHORT_BINBYTES, BINBYTES8 and BYTEARRAY8 are bytes, not text")
  func bytes() throws {
    for opcodes: [UInt8] in [
      [0x42, 1, 0, 0, 0, 0x77], [0x43, 1, 0x77], [0x8E, 1, 0, 0, 0, 0, 0, 0, 0, 0x77],
      [0x96, 1, 0, 0, 0, 0, 0, 0, 0, 0x77],
    ] { #expect(try value(opcodes).value == .bytes(0)) }
  }

  @Test("EMPTY_SET with ADDITEMS, FROZENSET, LIST, DICT, POP and POP_MARK build containers as in Python")
  func containers() throws {
    for opcodes: [UInt8] in [
      [0x8F, 0x28, 0x4B, 1, 0x4B, 2, 0x90], [0x28, 0x4B, 1, 0x4B, 2, 0x91], [0x28, 0x4B, 1, 0x4B, 2, 0x6C],
      [0x28, 0x4B, 1, 0x4B, 2, 0x4E, 0x30, 0x74], [0x28, 0x4B, 1, 0x4B, 2, 0x28, 0x4E, 0x4E, 0x31, 0x74],
      [0x28, 0x4B, 1, 0x4B, 2, 0x28, 0x30, 0x74],
    ] {
      let (pickle, value) = try value(opcodes)
      #expect(pickle.sequence(value) == [.small(1), .small(2)], "\(opcodes)")
    }
    let (pickle, dictionary) = try value([0x28, 0x4B, 1, 0x4B, 2, 0x64])
    #expect(pickle.entries(dictionary)?.map(\.value) == [.small(2)])
  }

  @Test("GET and PUT of protocol 0, and MEMOIZE after gaps in the memo, work as in Python")
  func memo() throws {
    let recalled = try value([0x4B, 7] + Self.text("p12") + [0x30] + Self.text("g12"))
    #expect(recalled.value == .small(7))
    // The memo has one value, so MEMOIZE assigns the number 1, not 6.
    let gap: [UInt8] = [0x4B, 7, 0x71, 5, 0x30, 0x4B, 8, 0x94, 0x30, 0x68, 1]
    #expect(try value(gap).value == .small(8))
    for line in ["g-1", "gx", "p-1", "p99999999999", "g3"] {
      #expect(throws: FormatError.self) { try value([0x4E] + Self.text(line)) }
    }
  }

  @Test("INST, OBJ and NEWOBJ_EX record the class, its positional arguments and then its keyword arguments")
  func instances() throws {
    let name = PickledValue.global("a", "B").opcodes
    for opcodes: [UInt8] in [
      [0x28, 0x4B, 1, 0x4B, 2, 0x69] + Array("a\nB\n".utf8), [0x28] + name + [0x4B, 1, 0x4B, 2, 0x6F],
      name + [0x4B, 1, 0x85, 0x7D, 0x58, 1, 0, 0, 0, 0x78, 0x4B, 2, 0x73, 0x92],
      name + [0x4B, 1, 0x4B, 2, 0x86, 0x81],
    ] {
      let (pickle, value) = try value(opcodes)
      guard case .object(let row) = value else {
        Issue.record("\(opcodes): no object")
        continue
      }
      #expect(
        pickle.className(of: value) == Array("a.B".utf8)
          && pickle.arguments(of: pickle.objects[Int(row)]) == [.small(1), .small(2)], "\(opcodes)")
    }
  }

  @Test("BUILD keeps the state, with attributes by name")
  func states() throws {
    let object = PickledValue.state(
      .instance(.global("a", "B")), .dictionary(["x": .int(1), "y": .int(2), "x": .int(3)]))
    let (pickle, value) = try value(object.opcodes)
    #expect(pickle.attribute("x", of: value) == .small(3) && pickle.attribute("z", of: value) == nil)
    // These are the dictionary, and each of its keys and values.
    #expect(pickle.partCount(of: value) == 1 + 6)
    #expect(pickle.unknownGlobals == [Array("a.B".utf8)])
  }

  @Test("Only protocols 0 to 5 are accepted")
  func protocols() throws {
    for version: UInt8 in [6, 255] {
      #expect(
        refusal(of: .raw([0x80, version, 0x4E])).error?.text
          == "unsupported protocol \(version) (the latest is 5)")
    }
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    // PROTO 4, FRAME, EMPTY_DICT, MEMOIZE, SHORT_BINUNICODE, SETITEM.
    let framed =
      [0x80, 4, 0x95] + [UInt8](repeating: 0, count: 8) + [0x7D, 0x94, 0x8C, 1, UInt8(ascii: "w")]
    file.object = .raw(framed + tensor.opcodes + [0x73])
    #expect(try read(file.bytes).names == ["w"])
  }
}
