import Fixtures
import Testing

@testable import PyTorch

/// Whole modules, settings, samplers and other objects that files have besides tensors.
@Suite("Unknown classes are inert") struct UnknownClassTests {
  private var file = TorchFile()
  private let a: PickledValue
  private let b: PickledValue

  init() {
    a = file.tensor("Float", [1])
    b = file.tensor("Float", [2])
  }

  private func names(_ object: PickledValue) throws -> [String] {
    var file = file
    file.object = object
    return try read(file.bytes).names
  }

  private func object(_ arguments: [PickledValue] = []) -> PickledValue {
    .call(.global("lib", "Thing"), arguments)
  }

  private func module(
    _ parameters: KeyValuePairs<String, PickledValue>, _ modules: KeyValuePairs<String, PickledValue> = [:],
    _ others: KeyValuePairs<String, PickledValue> = [:]
  ) -> PickledValue {
    let parts: [(PickledValue, PickledValue)] = [
      (.string("training"), .bool(true)), (.string("_parameters"), .ordered(parameters)),
      (.string("_buffers"), .dictionary([:])), (.string("_modules"), .ordered(modules)),
    ]
    return .state(
      .instance(.global("lib", "Net")), .pairs(parts + others.map { (.string($0.key), $0.value) }))
  }

  @Test("Tensors in an object are named by argument position, attribute, item position or key")
  func parts() throws {
    #expect(try names(object([.int(1), a])) == ["1"])
    #expect(try names(.dictionary(["x": .state(object(), .dictionary(["w": a]))])) == ["x.w"])
    // The objects are a namedtuple, and instances of subclasses of list and dict.
    #expect(
      try names(.raw(PickledValue.global("lib", "P").opcodes + PickledValue.tuple([a, b]).opcodes + [0x81]))
        == ["0", "1"])
    #expect(try names(.raw(object().opcodes + [0x28] + a.opcodes + b.opcodes + [0x65])) == ["0", "1"])
    #expect(
      try names(.raw(object().opcodes + PickledValue.string("k").opcodes + a.opcodes + [0x73])) == ["k"])
  }

  @Test(
    "A state that is a pair of dictionaries is attributes and slots, another tuple has positions, and a tensor gets the object's name"
  )
  func states() throws {
    #expect(try names(.state(object(), .tuple([.none, .dictionary(["s": a])]))) == ["s"])
    #expect(
      try names(.state(object(), .tuple([.dictionary(["d": a]), .dictionary(["s": b])]))) == ["d", "s"])
    #expect(try names(.state(object(), .tuple([.int(1), .none, a]))) == ["2"])
    #expect(
      try names(.state(object(), .list([.dictionary(["d": a]), .dictionary(["s": b])]))) == ["0.d", "1.s"])
    #expect(try names(.dictionary(["x": .state(object(), a)])) == ["x"])
    #expect(try names(.state(.state(object(), .dictionary(["p": a])), .dictionary(["q": b]))) == ["p", "q"])
  }

  @Test("Tensors in a module have the names of state_dict(), wherever the module is in the file")
  func modules() throws {
    let net = module(["w": a], ["conv": module(["b": b])], ["stride": a])
    #expect(try names(net) == ["w", "conv.b", "stride"])
    #expect(try names(.dictionary(["model": net])) == ["model.w", "model.conv.b", "model.stride"])
  }

  @Test("Modules and containers are searched wherever they occur, other objects only once")
  func places() throws {
    let memo: [UInt8] = [0x71, 0], recall = PickledValue.raw([0x68, 0])
    func twice(_ value: PickledValue) -> PickledValue { .list([.raw(value.opcodes + memo), recall]) }
    #expect(try names(twice(module(["w": a]))) == ["0.w", "1.w"])
    #expect(try names(twice(.list([a]))) == ["0.0", "1.0"])
    #expect(try names(twice(.state(object(), .dictionary(["w": a])))) == ["0.w"])
    // The object contains itself.
    #expect(
      try names(
        .raw(object().opcodes + memo + PickledValue.dictionary(["me": recall, "w": a]).opcodes + [0x62])) == [
          "w"
        ])
  }

  @Test("Each unknown name is listed once, and harmless names of PyTorch and Python are not listed")
  func listed() throws {
    var file = file
    file.object = .list([
      object([.global("lib", "Other"), .global("lib", "Thing")]), .global("builtins", "getattr"),
      .call(.global("pathlib", "PosixPath"), [.string("/")]), .global("torch", "float16"),
      .instance(.global("argparse", "Namespace")),
    ])
    #expect(
      try read(file.bytes).unknownGlobals.map { String(decoding: $0, as: UTF8.self) } == [
        "lib.Thing", "lib.Other", "builtins.getattr",
      ])
  }

  @Test("A call of a call's result is inert too")
  func calls() throws {
    #expect(try names(.call(object(), [a])) == ["0"])
    #expect(try names(.call(.call(.global("functools", "partial"), [.global("lib", "f")]), [a])) == ["0"])
  }

  @Test("A parameter made from an object is the object, and a subclass of Tensor is shown as a tensor")
  func parameters() throws {
    #expect(
      try names(.call(.global("torch._utils", "_rebuild_parameter"), [object([a]), .bool(true), .none])) == [
        "0"
      ])
    let arguments = PickledValue.tuple([
      file.reference(0), .int(0), .tuple([.int(1)]), .tuple([.int(1)]), .bool(false), .none,
    ])
    let typed = PickledValue.call(
      .global("torch._tensor", "_rebuild_from_type_v2"),
      [
        .global("torch._utils", "_rebuild_tensor_v2"), .global("lib", "MyTensor"), arguments,
        .dictionary([:]),
      ])
    #expect(try names(.dictionary(["t": typed])) == ["t"])
  }

  @Test("Old files have persistent ids with the source code of classes, which is never compiled")
  func sources() throws {
    var file = TorchFile(isLegacy: true)
    let tensor = file.tensor("Float", [1])
    let type = PickledValue.persistent(
      .tuple([.string("module"), .global("models", "Net"), .string("m.py"), .string("import os")]))
    file.object = .state(.instance(type), .dictionary(["w": tensor]))
    let read = try read(file.bytes)
    #expect(read.names == ["w"] && read.unknownGlobals == [Array("models.Net".utf8)])
  }

  @Test("TorchScript's enumerations, packed parameters and states lose no tensor silently")
  func torchScript() throws {
    var file = file
    let quantized = PickledValue.call(
      .global("torch._utils", "_rebuild_qtensor"),
      [file.reference(0), .int(0), .tuple([.int(1)]), .tuple([.int(1)]), .none])
    // An enumeration has a single value, not a tuple of arguments.
    let mode = PickledValue.raw(PickledValue.global("__torch__", "Mode").opcodes + [0x4B, 1, 0x52])
    file.object = .state(
      .instance(.global("__torch__", "Net")),
      .dictionary([
        "mode": mode, "packed": .state(.instance(.global("__torch__", "Packed")), .tuple([quantized, a])),
        "inner": .state(.instance(.global("__torch__", "Inner")), .tuple([.int(1), b])),
      ]))
    var archive = file.archive
    archive.entries.append(.init("archive/constants.pkl", PickledValue.tuple([]).pickle))
    let read = try read(archive.bytes)
    #expect(read.names == ["packed.1", "inner.1"] && read.unknownGlobals.isEmpty)
    #expect(read.omissions.map { String(decoding: $0.name, as: UTF8.self) } == ["packed.0"])
  }
}
