import Fixtures
import Testing

@testable import PyTorch

/// Names and forms that PyTorch no longer writes, but that torch.load still reads.
@Suite("Files of older PyTorch") struct OlderNamesTests {
  private var file = TorchFile()
  private let tensor: PickledValue

  init() { tensor = file.tensor("Float", [2]) }

  private func read(_ object: PickledValue) throws -> PyTorchFile {
    var file = file
    file.object = object
    return try PyTorchTests.read(file.bytes)
  }

  @Test(
    "A subclass of Tensor is shown as a tensor, whichever module its function was in",
    arguments: ["torch._tensor", "torch.tensor"], ["_rebuild_from_type", "_rebuild_from_type_v2"])
  func subclass(module: String, function: String) throws {
    let arguments = PickledValue.tuple([
      file.reference(0), .int(0), .tuple([.int(2)]), .tuple([.int(1)]), .bool(false), .ordered([:]),
    ])
    let subclass = PickledValue.call(
      .global(module, function),
      [
        .global("torch._utils", "_rebuild_tensor_v2"), .global("fastai.torch_core", "TensorImage"),
        arguments, .dictionary([:]),
      ])
    let read = try read(.dictionary(["t": subclass]))
    #expect(read.names == ["t"] && read.omissions.isEmpty)
  }

  @Test("A GPU storage class has the element type of its CPU class, and a Variable is shown as its tensor")
  func variable() throws {
    let id = PickledValue.tuple([
      .string("storage"), .global("torch.cuda", "FloatStorage"), .string("0"), .string("cuda:0"), .int(2),
    ])
    let onGPU = PickledValue.call(
      .global("torch._utils", "_rebuild_tensor"),
      [.persistent(id), .int(0), .tuple([.int(2)]), .tuple([.int(1)])])
    let variable = PickledValue.state(
      .call(.global("torch.autograd.variable", "Variable"), [tensor]),
      .tuple([.bool(true), .bool(false), .ordered([:])]))
    let read = try read(.dictionary(["g": onGPU, "v": variable]))
    #expect(read.names == ["g", "v"] && read.tensors.map(\.type) == [.float32, .float32])
    #expect(read.unknownGlobals.isEmpty)
  }

  @Test(
    "A tensor on a device without storages is omitted by name",
    arguments: ["_rebuild_xla_tensor", "_rebuild_mlc_tensor", "_rebuild_device_tensor_from_numpy"])
  func devices(function: String) throws {
    let array = PickledValue.call(.global("numpy.core.multiarray", "_reconstruct"), [])
    let call = PickledValue.call(
      .global("torch._utils", function), [array, .global("torch", "float32"), .string("xla:0"), .bool(false)])
    let read = try read(.dictionary(["x": call]))
    #expect(read.names.isEmpty && read.omissions.map(\.reason) == [.kind(.device)])
  }

  @Test("A tensor on such a device is shown if the file has a copy with the same dtype")
  func copies() throws {
    func copy(_ value: PickledValue, _ dtype: String) -> PickledValue {
      .call(
        .global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"),
        [value, .global("torch", dtype), .string("xla:0"), .bool(false)])
    }
    let read = try read(
      .dictionary([
        "x": copy(tensor, "float32"), "y": copy(tensor, "bfloat16"), "z": copy(.none, "float32"),
        "p": .call(
          .global("torch._utils", "_rebuild_parameter"),
          [copy(tensor, "float32"), .bool(true), .ordered([:])]),
      ]))
    #expect(read.names == ["x", "p"] && read.omissions.map(\.reason) == [.kind(.device), .kind(.device)])
  }

  @Test("A legacy file at protocol 1, with a magic number in decimal digits, is read")
  func protocolOne() throws {
    var file = TorchFile(isLegacy: true)
    file.object = .dictionary(["w": file.tensor("Float", [2])])
    // LONG replaces PROTO and LONG1.
    let bytes = Array("L119547037146038801333356L\n.".utf8) + file.legacyBytes.dropFirst(15)
    #expect(try PyTorchTests.read(bytes).names == ["w"])
    #expect(PyTorchFile.form(of: Array("L119547037146038801333357L\n.".utf8)) == nil)
  }

  @Test("The tensors in a defaultdict are shown, whatever its factory is")
  func defaultDictionary() throws {
    let factory = PickledValue.call(.global("functools", "partial"), [.global("lib", "make")])
    let dictionary = PickledValue.call(.global("collections", "defaultdict"), [factory])
    let filled = dictionary.opcodes + PickledValue.string("k").opcodes + tensor.opcodes + [0x73, 0x71, 0]
    #expect(try read(.list([.raw(filled), .raw([0x68, 0])])).names == ["0.k", "1.k"])
    let begun = PickledValue.call(
      .global("collections", "defaultdict"), [.global("builtins", "list"), .dictionary(["b": tensor])])
    #expect(try read(begun).names == ["b"])
  }
}
