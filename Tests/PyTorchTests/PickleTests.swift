import Fixtures
import Testing

@testable import PyTorch

/// Pickles that Python would run, or choke on. Each is refused or bounded; that nothing is executed needs no
/// test of its own here, since there is nothing that could: the mount's tests look for the traces all the same.
@Suite("Hostile pickles") struct PickleTests {
  /// Python's classic: REDUCE of a function of the system.
  private static func run(_ module: String, _ name: String) -> PickledValue {
    .call(.global(module, name), [.string("touch /tmp/x")])
  }

  @Test(
    "A name that is not on the allowlist is refused, with the byte where it stands",
    arguments: [
      ("posix", "system"), ("os", "system"), ("nt", "system"), ("builtins", "eval"), ("builtins", "exec"),
      ("__builtin__", "eval"), ("builtins", "getattr"), ("subprocess", "Popen"), ("runpy", "_run_code"),
      ("webbrowser", "open"), ("pip", "main"), ("ctypes", "CDLL"), ("torch", "load"), ("torch.hub", "load"),
      ("torch.storage", "_load_from_bytes"), ("torch.jit", "load"), ("torch._utils", "_import_dotted_name"),
      ("torch.utils._config_module", "load_config"),
      ("torch.fx.experimental.symbolic_shapes", "evaluate_expr"),
      ("numpy.testing._private.utils", "runstring"), ("numpy.f2py.crackfortran", "getlincoef"),
      ("pydoc", "locate"), ("bdb", "Bdb"), ("idlelib.run", "Executive"), ("lib2to3.pgen2.grammar", "Grammar"),
      ("asyncio.unix_events", "_UnixSubprocessTransport"), ("ultralytics.nn.tasks", "DetectionModel"),
      // Names that are on the list but for a letter, a dot or a module.
      ("collections", "OrderedDict.fromkeys"), ("collections.OrderedDict", ""),
      ("", "collections.OrderedDict"),
      ("Torch", "FloatStorage"), ("torch.", "FloatStorage"), ("torch", "FloatStorage\r"),
      ("torch", "floatſtorage"),
      ("__torch__", "Net"),
    ])
  func globals(module: String, name: String) {
    let (error, start) = refusal(of: .dictionary(["w": Self.run(module, name)]))
    #expect(error?.problem == .global(module: Array(module.utf8), name: Array(name.utf8)))
    // PROTO, the dictionary, its mark, and the key come before it.
    #expect(error?.offset == start + 2 + 2 + 6)
  }

  @Test("Neither does a name pass that is made on the stack, recalled or built of other things: STACK_GLOBAL")
  func stackGlobal() {
    let names = PickledValue.string("posix").opcodes + PickledValue.string("system").opcodes
    let plain = refusal(of: .raw(names + [0x93])).error
    #expect(plain?.problem == .global(module: Array("posix".utf8), name: Array("system".utf8)))
    // The module by way of the memo: picklescan missed names that were not pushed just before.
    let recalled =
      PickledValue.string("posix").opcodes + [0x94] + PickledValue.none.opcodes + [0x85] + [0x68, 0]
      + PickledValue.string("system").opcodes + [0x93]
    #expect(refusal(of: .raw(recalled)).error?.problem == plain?.problem)
    // Names that are no strings.
    for operands in [PickledValue.int(1).opcodes, [0x29], [0x4E], PickledValue.list([]).opcodes] {
      let error = refusal(of: .raw(operands + PickledValue.string("system").opcodes + [0x93])).error
      #expect(error?.text == "it makes a global of what is no name")
    }
    let allowed = PickledValue.string("torch").opcodes + PickledValue.string("float32").opcodes
    #expect(refusal(of: .dictionary(["d": .raw(allowed + [0x93])])).error == nil)
  }

  @Test("INST names what it wants to call, and is refused as a call")
  func inst() {
    let error = refusal(of: .raw([0x28, 0x69] + Array("posix\nsystem\n".utf8))).error
    #expect(error?.problem == .global(module: Array("posix".utf8), name: Array("system".utf8)))
  }

  @Test(
    "Opcodes that PyTorch does not write are refused by their names",
    arguments: [
      // OBJ, EXT1, EXT2, EXT4, PERSID, DUP, POP, POP_MARK, GET, PUT, INT, STRING, LONG4, NEWOBJ_EX,
      // NEXT_BUFFER, none.
      0x6F, 0x82, 0x83, 0x84, 0x50, 0x32, 0x30, 0x31, 0x67, 0x70, 0x49, 0x53, 0x8B, 0x92, 0x97, 0x00, 0xFF,
    ])
  func opcodes(byte: UInt8) {
    let (error, start) = refusal(of: .raw([byte]))
    #expect(error == FormatError(at: start + 2, .opcode(byte)))
  }

  @Test("A class on the list is no function: what is made of it is a token, whatever the arguments")
  func misuse() {
    let cases: [PickledValue] = [
      .call(.global("torch", "FloatStorage"), [.int(1)]), .call(.global("torch", "float32"), []),
      .instance(.global("torch", "Tensor")), .call(.string("posix.system"), [.string("x")]),
      .raw(PickledValue.global("torch", "Size").opcodes + [0x4E, 0x52]),
      .call(.global("torch._utils", "_rebuild_parameter"), [.string("x")]),
      .state(.string("x"), .dictionary([:])), .state(.int(1), .none),
      .persistent(
        .tuple([.string("module"), .global("torch", "Tensor"), .string("m.py"), .string("import os")])),
      .persistent(.string("x")), .persistent(.tuple([])),
    ]
    for object in cases {
      #expect(refusal(of: .list([object])).error?.text?.hasPrefix("it ") == true, "\(object)")
    }
  }

  // MARK: - Numbers

  @Test("Memo bombs, counts without bounds and lengths beyond the end are refused before they take memory")
  func bombs() {
    let cases: [(opcodes: [UInt8], isTruncated: Bool)] = [
      // LONG_BINPUT and LONG_BINGET of 2^32 - 1.
      ([0x4E, 0x72, 0xFF, 0xFF, 0xFF, 0xFF], false), ([0x6A, 0xFF, 0xFF, 0xFF, 0xFF], false),
      ([0x68, 9], false),
      // BINUNICODE, BINSTRING and BINBYTES of 4 GB, LONG1 of 255 bytes that are not there.
      ([0x58, 0xFF, 0xFF, 0xFF, 0xFF], true), ([0x54, 0xFF, 0xFF, 0xFF, 0x7F], true),
      ([0x42, 0xFF, 0xFF, 0xFF, 0xFF], true), ([0x8A, 255, 1], true), ([0x63, 0x61], true),
    ]
    for (opcodes, isTruncated) in cases {
      let error = refusal(of: .raw(opcodes)).error
      #expect(isTruncated ? error?.problem == .truncated : error?.text != nil, "\(opcodes)")
    }
  }

  @Test("Marks and values that are not there")
  func stack() {
    for opcodes: [UInt8] in [
      [0x74], [0x65], [0x75], [0x52], [0x81], [0x62], [0x51], [0x85], [0x87], [0x71, 0], [0x94],
      [0x28, 0x85],
      [0x4E, 0x28, 0x62], [0x5D, 0x28, 0x4E, 0x75], [0x7D, 0x28, 0x4E, 0x65], [0x7D, 0x28, 0x4E, 0x75],
      [0x29, 0x28, 0x4E, 0x65], [0x4E, 0x4E], [0x28, 0x4E],
    ] {
      #expect(refusal(of: .raw(opcodes)).error?.text != nil, "\(opcodes)")
    }
    #expect(refusal(of: .raw([])).error?.text == "it takes a value where there is none")
  }

  @Test("Two hundred thousand levels of nesting take no stack, and are refused where they are looked into")
  func nesting() {
    for opcode: [UInt8] in [[0x85], [0x29, 0x86]] {
      let deep = [0x29] + repeatElement(opcode, count: 200_000).joined()
      #expect(refusal(of: .list([.raw(deep)])).error?.text == "it is nested more than 100 deep")
    }
    let lists = [UInt8](repeating: 0x5D, count: 200_000) + [UInt8](repeating: 0x61, count: 199_999)
    #expect(refusal(of: .raw(lists)).error?.text == "it is nested more than 100 deep")
    let marks = [UInt8](repeating: 0x28, count: 5_000_000)
    let error = #expect(throws: FormatError.self) { try PickleMachine.read(marks, at: 0) }
    #expect(error?.text == "it holds more than 4000000 values")
  }

  @Test("A list that holds itself is looked through once")
  func cycle() throws {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    file.object = .raw([0x5D, 0x71, 0, 0x68, 0, 0x61] + tensor.opcodes + [0x61])
    #expect(try read(file.bytes).names == ["1"])
  }

  @Test("A billion laughs: lists of the same lists are refused once they describe far more than they hold")
  func laughs() {
    var opcodes: [UInt8] = [0x29, 0x71, 0]
    for level in 1...40 as ClosedRange<UInt8> {
      opcodes +=
        [0x28] + [UInt8](repeating: 0, count: 20).enumerated().map { $0.offset % 2 == 0 ? 0x68 : level - 1 }
      opcodes += [0x74, 0x71, level]
    }
    // Everything but the last is on the stack below it.
    let whole = [0x28] + opcodes + [0x74]
    #expect(refusal(of: .raw(whole)).error?.text?.hasPrefix("it describes far more than it holds") == true)
  }

  @Test("A long name in a thousand places is refused too")
  func names() {
    let long = String(repeating: "n", count: 100_000)
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    let many = PickledValue.list(Array(repeating: tensor, count: 1000))
    file.object = .dictionary([long: many])
    #expect(refusal(of: file.bytes)?.text?.hasPrefix("it describes far more than it holds") == true)
  }

  @Test("Names that are not UTF-8")
  func encoding() {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    file.object = .pairs([(.raw([0x55, 1, 0xFF]), tensor)])
    #expect(refusal(of: file.bytes)?.text == "a name is not UTF-8")
  }

  @Test("Protocols: 2 to 5 with what PyTorch writes at them, and none else")
  func protocols() throws {
    for version: UInt8 in [0, 1, 6, 255] {
      #expect(
        refusal(of: .raw([0x80, version, 0x4E])).error?.text == "its protocol \(version) is not PyTorch's")
    }
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    // PROTO 4, FRAME, EMPTY_DICT, MEMOIZE, SHORT_BINUNICODE, SETITEM.
    let framed =
      [0x80, 4, 0x95] + [UInt8](repeating: 0, count: 8) + [0x7D, 0x94, 0x8C, 1, UInt8(ascii: "w")]
    file.object = .raw(framed + tensor.opcodes + [0x73])
    #expect(try read(file.bytes).names == ["w"])
  }

  // MARK: - Tensors

  @Test("Shapes, strides, offsets and sizes that leave the storage or overflow are refused")
  func reach() {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 10)
    let cases: [PickledValue] = [
      file.view(of: storage, [11]), file.view(of: storage, offset: 1, [10]),
      file.view(of: storage, offset: 10, []),
      file.view(of: storage, [2, 5], strides: [6, 1]), file.view(of: storage, offset: -1, [1]),
      file.view(of: storage, [-1]), file.view(of: storage, [2], strides: [-1]),
      file.view(of: storage, [.max, .max], strides: [0, 0]), file.view(of: storage, [1 << 62], strides: [0]),
      file.view(of: storage, [2], strides: [.max]), file.view(of: storage, offset: .max, [2]),
      file.view(of: storage, [2, 2], strides: [1]), file.view(of: storage, as: "float64", [6]),
      file.view(of: storage, Array(repeating: 1, count: 1025)),
      .call(.global("torch._utils", "_rebuild_tensor_v2"), [.int(1), .int(0), .tuple([]), .tuple([])]),
      .call(.global("torch._utils", "_rebuild_tensor_v2"), []),
    ]
    for (position, value) in cases.enumerated() {
      file.object = .dictionary(["t": value])
      let error = refusal(of: file.bytes)
      guard case .malformed(.tensor(let name), _)? = error?.problem else {
        Issue.record("case \(position): \(String(describing: error))")
        continue
      }
      #expect(name == Array("t".utf8))
    }
  }

  @Test("A storage that is not there, or whose size is not what the pickle counts")
  func storages() {
    var file = TorchFile()
    let tensor = file.tensor("Float", [4])
    file.object = .dictionary(["t": tensor])
    var archive = file.archive
    archive.entries.removeAll { $0.name == Array("archive/data/0".utf8) }
    #expect(refusal(of: archive.bytes)?.text == "has a storage that is not there")
    archive.entries.append(.init("archive/data/0", [0, 0, 0]))
    #expect(refusal(of: archive.bytes)?.text == "has 3 bytes, but 4 elements")
  }
}
