import Fixtures
import Testing

@testable import PyTorch

@Suite("Tensors of PyTorch files") struct PyTorchFileTests {
  @Test(
    "A state dict in either format has the right names, dtypes, shapes and byte ranges",
    arguments: [false, true])
  func stateDict(isLegacy: Bool) throws {
    var file = TorchFile(isLegacy: isLegacy)
    let weight = file.tensor("Float", [2, 3])
    let bias = file.tensor("BFloat16", [3])
    file.object = .ordered(["layer.weight": weight, "layer.bias": bias, "step": .int(7)])
    let tensors = try read(file.bytes).tensors
    #expect(tensors.map { String(decoding: $0.name, as: UTF8.self) } == ["layer.weight", "layer.bias"])
    #expect(tensors.map(\.type) == [.float32, .bfloat16])
    #expect(tensors.map(\.shape) == [[2, 3], [3]])
    #expect(tensors.map(\.isContiguous) == [true, true])
    for (key, tensor) in tensors.enumerated() {
      #expect(tensor.range.lowerBound == UInt64(file.offset(of: key)))
      #expect(
        Array(file.bytes[Int(tensor.range.lowerBound)..<Int(tensor.range.upperBound)])
          == file.storages[key].data)
    }
  }

  @Test(
    "Every storage class has the right dtype and element size",
    arguments: TorchFile.widths.map(\.key))
  func storageClasses(name: String) throws {
    var file = TorchFile()
    file.object = .dictionary(["t": file.tensor(name, [3])])
    let tensor = try #require(try read(file.bytes).tensors.first)
    let width = TorchFile.widths.first { $0.key == name }?.value ?? 0
    #expect(tensor.type.byteCount == UInt64(width))
    #expect(tensor.range.upperBound - tensor.range.lowerBound == UInt64(3 * width))
    let expected: [String: ElementType] = [
      "Float": .float32, "Half": .float16, "Long": .int64, "Bool": .bool,
    ]
    #expect(expected[name] == nil || expected[name] == tensor.type)
  }

  @Test("A dtype without a storage class uses an untyped storage", arguments: ElementType.allCases)
  func untyped(type: ElementType) throws {
    var file = TorchFile()
    let storage = file.addStorage("Untyped", count: 6 * Int(type.byteCount))
    file.object = .dictionary(["t": file.view(of: storage, as: type.rawValue, offset: 2, [2, 2])])
    let tensor = try #require(try read(file.bytes).tensors.first)
    #expect(tensor.type == type)
    #expect(tensor.range.lowerBound == UInt64(file.offset(of: storage)) + 2 * type.byteCount)
    #expect(tensor.range.upperBound == UInt64(file.offset(of: storage)) + 6 * type.byteCount)
  }

  @Test("Nested dictionaries, lists and attributes become dotted names")
  func nested() throws {
    var file = TorchFile()
    let a = file.tensor("Float", [1])
    let namespace = PickledValue.state(
      .instance(.global("argparse", "Namespace")), .dictionary(["mean": a, "lr": .float(0.1)]))
    file.object = .dictionary([
      "state_dict": .ordered(["layer.weight": a]),
      "optimizer": .dictionary([
        "state": .pairs([(.int(0), .dictionary(["exp_avg": a])), (.int(-1), .tuple([.none, a]))]),
        "param_groups": .list([.dictionary(["params": .list([.int(0)]), "lr": a])]),
      ]),
      "args": namespace, "none": .pairs([(.none, a), (.bool(true), a)]),
      "callbacks": .pairs([(.global("torch", "float32"), a)]), "epoch": .int(3),
    ])
    let expected = [
      "state_dict.layer.weight", "optimizer.state.0.exp_avg", "optimizer.state.-1.1",
      "optimizer.param_groups.0.lr", "args.mean", "none.None", "none.True", "callbacks.torch.float32",
    ]
    #expect(try read(file.bytes).names == expected)
  }

  @Test("A tensor saved alone is named \"tensor\", and tensors in a list are named by position")
  func roots() throws {
    var file = TorchFile()
    let a = file.tensor("Float", [1])
    file.object = a
    #expect(try read(file.bytes).names == ["tensor"])
    file.object = .tuple([a, .int(1), a])
    #expect(try read(file.bytes).names == ["0", "2"])
    file.object = .none
    #expect(try read(file.bytes).names.isEmpty)
  }

  @Test("Parameters, and tensors with attributes, are shown as tensors")
  func parameters() throws {
    var file = TorchFile()
    let tensor = file.tensor("Float", [2])
    let arguments = PickledValue.tuple([
      file.reference(0), .int(0), .tuple([.int(2)]), .tuple([.int(1)]), .bool(false), .ordered([:]),
    ])
    let typed = PickledValue.call(
      .global("torch._tensor", "_rebuild_from_type_v2"),
      [
        .global("torch._utils", "_rebuild_tensor_v2"), .global("torch.nn.parameter", "Parameter"), arguments,
        .dictionary(["tag": .int(1)]),
      ])
    let parameter = PickledValue.call(
      .global("torch._utils", "_rebuild_parameter"), [tensor, .bool(true), .ordered([:])])
    file.object = .ordered(["p": parameter, "t": typed])
    #expect(try read(file.bytes).names == ["p", "t"])
  }

  @Test("Files of Python 2 are read, with byte strings and an OrderedDict made from pairs")
  func python2() throws {
    var file = TorchFile(isLegacy: true)
    let tensor = file.tensor("Float", [1])
    let key = PickledValue.raw([0x55, 1, UInt8(ascii: "w")])
    file.object = .call(.global("collections", "OrderedDict"), [.list([.list([key, tensor])])])
    #expect(try read(file.bytes).names == ["w"])
  }

  @Test("NumPy numbers, sizes, devices, paths and other values of training checkpoints are ignored")
  func checkpoint() throws {
    var file = TorchFile()
    let dtype = PickledValue.state(
      .call(.global("numpy", "dtype"), [.string("f8"), .bool(false), .bool(true)]),
      .tuple([.int(3), .string("<"), .none, .none, .none, .int(-1), .int(-1), .int(0)]))
    let encoded = PickledValue.call(.global("_codecs", "encode"), [.string("x"), .string("latin1")])
    let array = PickledValue.state(
      .call(
        .global("numpy.core.multiarray", "_reconstruct"),
        [.global("numpy", "ndarray"), .tuple([.int(0)]), encoded]),
      .tuple([.int(1), .tuple([.int(1)]), dtype, .bool(false), encoded]))
    let state = PickledValue.state(
      .ordered(["w": file.tensor("Float", [1])]),
      .dictionary(["_metadata": .ordered(["": .dictionary(["version": .int(1)])])]))
    file.object = .dictionary([
      "model": state, "loss": .call(.global("numpy.core.multiarray", "scalar"), [dtype, encoded]),
      "rng": array,
      "size": .call(.global("torch", "Size"), [.tuple([.int(1)])]),
      "device": .call(.global("torch", "device"), [.string("cuda"), .int(0)]),
      "dtype": .global("torch", "float16"),
      "seen": .call(.global("__builtin__", "set"), [.list([.int(1)])]),
      "path": .call(.global("pathlib", "PosixPath"), [.string("/"), .string("tmp")]),
      "groups": .call(.global("collections", "defaultdict"), [.global("__builtin__", "list")]),
      "large": .raw([0x8A, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "rate": .float(1e-3),
    ])
    #expect(try read(file.bytes).names == ["model.w"])
  }

  @Test("A TorchScript file shows its modules' parameters, and its constants below CONSTANTS")
  func torchScript() throws {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    let linear = PickledValue.state(
      .instance(.global("__torch__.torch.nn.modules.linear", "Linear")),
      .dictionary(["training": .bool(false), "weight": tensor]))
    file.object = .state(
      .instance(.global("__torch__", "Net")),
      .dictionary([
        "fc": linear,
        "sizes": .call(.global("torch.jit._pickle", "build_intlist"), [.list([.int(1)])]),
      ]))
    var archive = file.archive
    #expect(try read(archive.bytes).unknownGlobals.count == 2)
    archive.entries.append(.init("archive/constants.pkl", PickledValue.tuple([tensor]).pickle))
    archive.entries.append(.init("archive/constants/0", [1, 2, 3, 4]))
    let tensors = try read(archive.bytes).tensors
    #expect(tensors.map { String(decoding: $0.name, as: UTF8.self) } == ["fc.weight", "CONSTANTS.0"])
    #expect(tensors.last?.range.lowerBound == UInt64(archive.offset(of: "archive/constants/0")))
    #expect(try read(archive.bytes).unknownGlobals.isEmpty)
  }

  @Test("A tensor whose elements are not in a storage is omitted with a reason")
  func omissions() throws {
    var file = TorchFile()
    let values = file.tensor("Float", [1])
    let integers = file.addStorage("QInt8", count: 2)
    let complex = file.addStorage("ComplexFloat", count: 1)
    let sparse = PickledValue.call(
      .global("torch._utils", "_rebuild_sparse_tensor"),
      [.global("torch", "sparse_coo"), .tuple([values, values])])
    let quantized = PickledValue.call(
      .global("torch._utils", "_rebuild_qtensor"),
      [file.reference(integers), .int(0), .tuple([.int(2)]), .tuple([.int(1)]), .none])
    let meta = PickledValue.call(
      .global("torch._utils", "_rebuild_meta_tensor_no_storage"),
      [.global("torch", "float16"), .tuple([.int(2)]), .tuple([.int(1)]), .bool(false)])
    let conjugate = PickledValue.call(
      .global("torch._utils", "_rebuild_tensor_v2"),
      [
        file.reference(complex), .int(0), .tuple([]), .tuple([]), .bool(false),
        .none, .dictionary(["conj": .bool(true)]),
      ])
    file.object = .ordered([
      "sparse": sparse, "q": quantized, "meta": meta, "conj": conjugate, "bare": file.reference(0),
      "w": values,
    ])
    let read = try read(file.bytes)
    #expect(read.names == ["w"])
    #expect(
      read.omissions.map { String(decoding: $0.name, as: UTF8.self) } == [
        "sparse", "q", "meta", "conj", "bare",
      ])
    #expect(read.omissions.map(\.type) == [nil, .qint8, .float16, .complex64, .float32])
  }

  @Test("Transposed, expanded, shared and empty tensors have the correct ranges")
  func strides() throws {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 12)
    file.object = .ordered([
      "whole": file.view(of: storage, [3, 4]),
      "transposed": file.view(of: storage, [4, 3], strides: [1, 4]),
      "row": file.view(of: storage, offset: 4, [4]),
      "column": file.view(of: storage, offset: 1, [3], strides: [4]),
      "expanded": file.view(of: storage, offset: 11, [1 << 40, 1 << 20], strides: [0, 0]),
      "ones": file.view(of: storage, [1, 4, 1], strides: [99, 1, 77]),
      "empty": file.view(of: storage, offset: 500, [0, 3], strides: [3, 1]),
      "scalar": file.view(of: storage, offset: 11, []),
    ])
    let tensors = try read(file.bytes).tensors
    let start = UInt64(file.offset(of: storage))
    let ranges = tensors.map { Int($0.range.lowerBound - start)..<Int($0.range.upperBound - start) }
    #expect(ranges == [0..<48, 0..<48, 16..<32, 4..<40, 44..<48, 0..<16, 0..<0, 44..<48])
    #expect(tensors.map(\.isContiguous) == [true, false, true, false, false, true, true, true])
  }

  @Test("Big-endian files are refused", arguments: [false, true])
  func bigEndian(isLegacy: Bool) throws {
    var file = TorchFile(isLegacy: isLegacy)
    file.object = .ordered(["w": file.tensor("Float", [1])])
    file.byteOrder = "big"
    #expect(refusal(of: file.bytes)?.problem == .bigEndian)
  }

  @Test("A legacy file that ends early is reported as truncated, and bytes after its end are counted")
  func legacyEnds() throws {
    var file = TorchFile(isLegacy: true)
    file.object = .ordered(["a": file.tensor("Float", [20_000]), "b": file.tensor("Byte", [3])])
    let bytes = file.bytes
    #expect(try read(bytes + [1, 2, 3]).trailingBytes == 3)
    for end in [16, 30, 60, 200, bytes.count - 12, bytes.count - 1] {
      #expect(refusal(of: Array(bytes[..<end]))?.problem == .truncated, "\(end)")
    }
  }
}
