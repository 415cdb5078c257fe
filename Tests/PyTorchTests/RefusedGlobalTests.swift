import Fixtures
import Testing

@testable import PyTorch

@Suite("Names that only attacks use in a pickle") struct RefusedGlobalTests {
  /// The best-known attack on Python's pickle: REDUCE with a function of the system.
  private static func run(_ module: String, _ name: String) -> PickledValue {
    .call(.global(module, name), [.string("touch /tmp/x")])
  }

  static let names: [(String, String)] = [
    ("posix", "system"), ("os", "system"), ("nt", "system"), ("os.path", "join"), ("builtins", "eval"),
    ("builtins", "exec"), ("__builtin__", "execfile"), ("builtins", "__import__"), ("builtins", "open"),
    ("subprocess", "Popen"), ("runpy", "_run_code"), ("webbrowser", "open"), ("pip", "main"),
    ("ctypes", "CDLL"),
    ("torch", "load"), ("torch.serialization", "load"), ("torch.hub", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.jit", "load"), ("torch.utils._config_module", "ConfigModule.load_config"),
    ("torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression"),
    ("torch.utils.bottleneck.__main__", "run_cprofile"), ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py.crackfortran", "getlincoef"), ("numpy", "load"), ("pydoc", "locate"), ("bdb", "Bdb"),
    ("idlelib.run", "Executive"), ("lib2to3.pgen2.grammar", "Grammar"), ("asyncio.unix_events", "X"),
    ("pickle", "loads"), ("_io", "FileIO"), ("requests.api", "get"), ("joblib", "load"),
    // These names reach a dangerous module through another module that imports it.
    ("torch.serialization", "os.system"), ("random", "_os"), ("mylib", "Model.__globals__"),
    ("logging", "sys.modules"),
  ]

  @Test("A refused name is reported with the byte of its call", arguments: names)
  func called(module: String, name: String) {
    let (error, start) = refusal(of: .dictionary(["w": Self.run(module, name)]))
    #expect(error?.problem == .global(name: Array("\(module).\(name)".utf8), isCalled: true))
    // Before it come PROTO, the dictionary, its mark, the key, the name and the arguments.
    let argument = PickledValue.tuple([.string("touch /tmp/x")]).opcodes.count
    #expect(error?.offset == start + 2 + 2 + 6 + UInt64(3 + module.utf8.count + name.utf8.count + argument))
  }

  @Test("A refused name is refused without a call too", arguments: names)
  func named(module: String, name: String) {
    let error = refusal(of: .dictionary(["w": .global(module, name)])).error
    #expect(error?.problem == .global(name: Array("\(module).\(name)".utf8), isCalled: false))
  }

  @Test(
    "Honest classes with similar names are not refused",
    arguments: [
      ("mylib.code", "Model"), ("models.os", "Net"), ("torch.distributed.pickle", "X"),
      ("builtins", "getattr"),
      ("collections", "OrderedDict.fromkeys"), ("posixpath", "join"), ("Torch", "load"), ("builtin", "eval"),
    ])
  func honest(module: String, name: String) throws {
    #expect(
      try read(TorchFile(.list([.global(module, name)])).bytes).unknownGlobals == [
        Array("\(module).\(name)".utf8)
      ])
  }

  @Test(
    "Calls by INST, OBJ, NEWOBJ, NEWOBJ_EX, and STACK_GLOBAL with memoised names, are refused like REDUCE")
  func opcodes() {
    let expected = FormatError.Problem.global(name: Array("posix.system".utf8), isCalled: true)
    let names = PickledValue.string("posix").opcodes + PickledValue.string("system").opcodes
    let argument = PickledValue.string("id").opcodes
    // The memo provides the module's name. picklescan missed names that were not pushed immediately before.
    let recalled =
      PickledValue.string("posix").opcodes + [0x94, 0x30, 0x68, 0] + PickledValue.string("system").opcodes + [
        0x93
      ]
    let cases: [[UInt8]] = [
      names + [0x93] + argument + [0x85, 0x52], recalled + argument + [0x85, 0x52],
      names + [0x93] + argument + [0x85, 0x81], names + [0x93] + argument + [0x85, 0x7D, 0x92],
      [0x28] + argument + [0x69] + Array("posix\nsystem\n".utf8), [0x28] + names + [0x93] + argument + [0x6F],
      // The pickle discards the result.
      names + [0x93] + argument + [0x85, 0x52, 0x30, 0x4E],
    ]
    for opcodes in cases { #expect(refusal(of: .raw(opcodes)).error?.problem == expected, "\(opcodes)") }
  }

  @Test("A refused name takes precedence over another error in the file")
  func brokenBesides() {
    let named = PickledValue.global("posix", "system").opcodes
    for opcodes: [UInt8] in [[0x82, 1], [0x65], [0x51], [0x4E, 0x4E]] {
      let error = refusal(of: .raw(named + opcodes)).error
      #expect(error?.problem == .global(name: Array("posix.system".utf8), isCalled: false), "\(opcodes)")
    }
  }

  @Test("getattr is refused for attributes that lead out of an object, and for computed names")
  func getattr() throws {
    func get(_ name: PickledValue) -> PickledValue {
      .call(.global("builtins", "getattr"), [.global("mylib", "Engine"), name])
    }
    for name in ["__globals__", "__subclasses__", "system", "__dict__", "import_module"] {
      #expect(
        refusal(of: get(.string(name))).error?.problem
          == .global(name: Array("getattr of \(name)".utf8), isCalled: true))
    }
    let computed = refusal(of: get(.global("mylib", "name"))).error
    #expect(computed?.text == "getattr without a literal attribute name")
    for name in ["Mode", "__new__", "forward"] {
      #expect(try read(TorchFile(get(.string(name))).bytes).unknownGlobals.count == 2)
    }
  }

  @Test("A global whose name is not a string is refused")
  func noName() {
    for operands in [
      PickledValue.int(1).opcodes, [0x29], [0x4E], PickledValue.list([]).opcodes, [0x43, 1, 0x61],
    ] {
      let error = refusal(of: .raw(operands + PickledValue.string("system").opcodes + [0x93])).error
      #expect(error?.text == "a module or class name is not a string")
    }
  }
}
