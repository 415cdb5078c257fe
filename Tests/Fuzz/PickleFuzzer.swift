import Fixtures

@testable import PyTorch

/// The machine that reads pickles, and the walk that finds tensors in the result.
enum PickleFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] { files(isLegacy: false).map(\.object.pickle) }

  /// Opcodes with their arguments, written with ``PickledValue``.
  static var words: [String] {
    [
      "ctorch\nFloatStorage\n", "ctorch._utils\n_rebuild_tensor_v2\n", "ccollections\nOrderedDict\n",
      "cbuiltins\nlist\n",
    ]
      + ["cargparse\nNamespace\n", "ctorch\nfloat32\n", "c__torch__\nM\n", "itorch\nTensor\n"]
      + [
        "ctorch._utils\n_rebuild_parameter\n", "cbuiltins\ngetattr\n", "_parameters", "_buffers", "_modules",
      ]
  }

  /// Objects that PyTorch pickles, and some that it does not pickle, with storages of 24 bytes.
  static func files(isLegacy: Bool) -> [TorchFile] {
    var file = TorchFile(isLegacy: isLegacy)
    let weight = file.tensor("Float", [2, 3])
    let storage = file.addStorage("Untyped", count: 24)
    let views = [
      file.view(of: storage, as: "float16", offset: 2, [2, 2], strides: [1, 2]),
      file.view(of: storage, as: "float4_e2m1fn_x2", [3, 4]), file.view(of: storage, [0, 5]),
      file.view(of: storage, offset: 23, [1 << 40, 4], strides: [0, 0]), file.view(of: storage, [25]),
    ]
    let recursive: [UInt8] = [0x5D, 0x71, 0, 0x68, 0, 0x61]
    let namespace = PickledValue.global("argparse", "Namespace")
    let objects: [PickledValue] = [
      .ordered(["weight": weight, "step": .int(7), "lr": .float(0.1)]), weight, .list(views), .raw(recursive),
      .dictionary([
        "a": .tuple([.none, .bool(true), .int(-1), .int(1 << 40), .string("é"), file.reference(storage)])
      ]),
      .state(.instance(namespace), .dictionary(["x": weight])),
      .call(.global("torch._utils", "_rebuild_parameter"), [weight, .bool(true), .none]),
      .call(
        .global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"),
        [weight, .global("torch", "float32"), .string("xla:0"), .bool(false)]),
      .call(.global("torch._utils", "_rebuild_qtensor"), [file.reference(storage), .int(0), .tuple([])]),
      .call(.global("collections", "OrderedDict"), [.list([.list([.string("a"), weight])])]),
      .call(
        .global("torch._tensor", "_rebuild_from_type_v2"),
        [
          .global("torch._utils", "_rebuild_tensor_v2"), .global("torch", "Tensor"),
          .tuple([file.reference(storage), .int(0), .tuple([.int(4)]), .tuple([.int(1)])]),
        ]),
      .pairs([(.none, weight), (.global("torch", "float32"), weight), (.tuple([]), weight)]),
      .call(
        .global("torch._tensor", "_rebuild_from_type_v2"),
        [
          .global("torch._utils", "_rebuild_wrapper_subclass"), .global("m", "Whole"), .tuple([]),
          .tuple([.none, .dictionary(["_local_tensor": weight])]),
        ]),
      .call(.global("builtins", "set"), [.list([weight])]),
      .call(.global("posix", "system"), [.string("id")]),
      .state(
        .instance(.global("m", "Net")),
        .dictionary([
          "_parameters": .ordered(["w": weight]), "_buffers": .ordered([:]), "_modules": .ordered([:]),
        ])),
      .state(.call(.global("m", "make"), [weight]), .tuple([.none, .dictionary(["slot": weight])])),
      .state(
        .call(.global("torch", "FloatTensor"), []),
        .tuple([file.reference(0), .int(0), .tuple([.int(6)]), .tuple([.int(1)])])),
    ]
    return objects.map { object in
      file.object = object
      return file
    }
  }

  static func test(_ input: [UInt8]) {
    for references in [PickleMachine.References.storages, .torchScript, .kept] {
      do throws(FormatError) {
        let pickle = try PickleMachine.read(input, at: 0, references: references)
        check(pickle)
        // The storages have the sizes in the pickle, and follow each other.
        var end: UInt64 = 0
        let storages = pickle.storages.map { storage -> Range<UInt64>? in
          let (size, overflow) = storage.count.multipliedReportingOverflow(by: storage.type.byteCount)
          guard !overflow, size < 1 << 40 else { return nil }
          end += size
          return end - size..<end
        }
        var table = TensorTable()
        // With a name, as for the objects of a distributed checkpoint.
        let name = references == .kept ? Array("é.1".utf8) : []
        try TensorWalk.walk(pickle, storages: storages, name: name, into: &table)
        for tensor in StoredTensors(table: table) {
          check(tensor, fileSize: end)
          require(tensor.name.starts(with: name), "a tensor's name is not below the object's")
        }
        for omission in Omissions(table: table) {
          require(String(validating: omission.name, as: UTF8.self) != nil, "a name is not UTF-8")
        }
      } catch {
        if let offset = error.offset { require(offset <= UInt64(input.count), "an error is past the end") }
      }
    }
  }

  /// Requires that all rows of values exist, all texts are in the pickle, and containers have the form that the walk expects.
  private static func check(_ pickle: Pickle) {
    require(pickle.end <= pickle.bytes.count, "a pickle is longer than its bytes")
    func check(_ text: Pickle.Text) {
      let end = Int(text.start) + Int(text.count)
      require(end <= pickle.bytes.count + pickle.decoded.count, "a text is not in the pickle")
      require(Int(text.start) >= pickle.bytes.count || end <= pickle.end, "a text is past the pickle")
    }
    func check(_ value: Pickle.Value) {
      switch value {
      case .none, .bool, .small, .number: break
      case .large(let row): require(pickle.integers.indices.contains(Int(row)), "there is no such integer")
      case .text(let row), .bytes(let row):
        require(pickle.texts.indices.contains(Int(row)), "there is no such text")
      case .global(let row): require(pickle.globals.indices.contains(Int(row)), "there is no such global")
      case .container(let row): require(pickle.containers.indices.contains(Int(row)), "no such container")
      case .object(let row): require(pickle.objects.indices.contains(Int(row)), "there is no such object")
      case .storage(let row): require(pickle.storages.indices.contains(Int(row)), "there is no such storage")
      case .tensor(let row): require(pickle.tensors.indices.contains(Int(row)), "there is no such tensor")
      case .external(let row): require(pickle.externals.indices.contains(Int(row)), "no such persistent id")
      }
    }
    check(pickle.root)
    pickle.items.forEach(check)
    pickle.texts.forEach(check)
    for (row, container) in pickle.containers.enumerated() {
      let items = pickle.items(of: UInt32(row))
      require(items.count == Int(container.count), "a container holds more or less than it counts")
      require(container.kind != .dictionary || items.count.isMultiple(of: 2), "a key has no value")
    }
    for global in pickle.globals { [global.module, global.name].forEach(check) }
    for storage in pickle.storages { check(storage.key) }
    for call in pickle.tensors { check(.container(call.arguments)) }
  }

  /// Requires that a tensor is inside its file, for any index.
  static func check(_ tensor: StoredTensor, fileSize: UInt64) {
    let name = String(validating: tensor.name, as: UTF8.self)
    require(name != nil, "a name is not UTF-8")
    require(tensor.shape.count == tensor.strides.count, "a tensor has not as many strides as dimensions")
    require(tensor.range.upperBound <= fileSize, "a tensor is not in its file")
    if tensor.shape.contains(0) {
      require(tensor.range.isEmpty && tensor.isContiguous, "a tensor without elements has some")
      return
    }
    var (last, size) = (UInt64(0), tensor.type.byteCount)
    for (count, stride) in zip(tensor.shape, tensor.strides) {
      // No file is large enough for an overflow here, which would trap.
      last += (count - 1) * stride
      size *= count
    }
    require(size <= UInt64(Int64.max), "a tensor has more bytes than a file can")
    let reached = (last + 1) * tensor.type.byteCount
    require(UInt64(tensor.range.count) == reached, "a tensor reaches other bytes than its range")
    if tensor.isContiguous { require(reached == size, "a contiguous tensor has holes, or repeats itself") }
  }
}
