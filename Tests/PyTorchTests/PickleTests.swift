import Fixtures
import Testing

@testable import PyTorch

/// Pickles that make Python execute code or exhaust memory. This library refuses them or limits their cost. It has no code that
/// could execute anything, so these tests do not check that. The tests of mounts do.
@Suite("Hostile pickles") struct PickleTests {
  @Test("Calls that PyTorch never makes, and calls of something other than a function, are refused")
  func misuse() {
    let cases: [PickledValue] = [
      .call(.global("torch", "FloatStorage"), [.int(1)]), .call(.global("torch", "float32"), []),
      .call(.string("posix.system"), [.string("x")]),
      .raw(PickledValue.global("torch", "Size").opcodes + [0x4E, 0x52]),
      .call(.global("torch._utils", "_rebuild_parameter"), [.string("x")]),
      .state(.string("x"), .dictionary([:])), .state(.int(1), .none),
      .call(.int(1), []), .call(.list([]), []),
      .call(.global("collections", "OrderedDict"), [.list([.int(1)])]),
      .persistent(.string("x")), .persistent(.tuple([])),
    ]
    for object in cases {
      guard case .malformed(.pickle, _)? = refusal(of: .list([object])).error?.problem else {
        Issue.record("\(object) is not refused")
        continue
      }
    }
  }

  // MARK: - Numbers

  @Test("Huge memo indexes, and lengths beyond the end, are refused before they take memory")
  func bombs() {
    let cases: [(opcodes: [UInt8], isTruncated: Bool)] = [
      // LONG_BINPUT and LONG_BINGET of 2^32 - 1.
      ([0x4E, 0x72, 0xFF, 0xFF, 0xFF, 0xFF], false), ([0x6A, 0xFF, 0xFF, 0xFF, 0xFF], false),
      ([0x68, 9], false),
      // BINUNICODE, BINSTRING and BINBYTES of 4 GB, and LONG1 of 255 bytes, all of which are missing.
      ([0x58, 0xFF, 0xFF, 0xFF, 0xFF], true), ([0x54, 0xFF, 0xFF, 0xFF, 0x7F], true),
      ([0x42, 0xFF, 0xFF, 0xFF, 0xFF], true), ([0x8A, 255, 1], true), ([0x63, 0x61], true),
    ]
    for (opcodes, isTruncated) in cases {
      let error = refusal(of: .raw(opcodes)).error
      #expect(isTruncated ? error?.problem == .truncated : error?.text != nil, "\(opcodes)")
    }
  }

  @Test("A missing mark or value on the stack is refused")
  func stack() {
    for opcodes: [UInt8] in [
      [0x74], [0x65], [0x75], [0x52], [0x81], [0x62], [0x51], [0x85], [0x87], [0x71, 0], [0x94],
      [0x28, 0x85],
      [0x4E, 0x28, 0x62], [0x5D, 0x28, 0x4E, 0x75], [0x7D, 0x28, 0x4E, 0x65], [0x7D, 0x28, 0x4E, 0x75],
      [0x29, 0x28, 0x4E, 0x65], [0x4E, 0x4E], [0x28, 0x4E],
    ] {
      #expect(refusal(of: .raw(opcodes)).error?.text != nil, "\(opcodes)")
    }
    #expect(refusal(of: .raw([])).error?.text == "an opcode needs more values than the stack has")
  }

  @Test("200,000 levels of nesting do not overflow the stack; tensors below level 500 are omitted by name")
  func nesting() throws {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    for opcode: [UInt8] in [[0x85], [0x29, 0x86]] {
      let deep = tensor.opcodes + repeatElement(opcode, count: 200_000).joined()
      file.object = .list([.raw(deep), tensor])
      let read = try read(file.bytes)
      #expect(read.names == ["1"] && read.omissions.map(\.reason) == [.deep])
    }
    let marks = [UInt8](repeating: 0x28, count: 5_000_000)
    let error = #expect(throws: FormatError.self) { try PickleMachine.read(marks, at: 0) }
    #expect(error?.text == "more than 4000000 values")
  }

  @Test("A list that contains itself is visited once")
  func cycle() throws {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    file.object = .raw([0x5D, 0x71, 0, 0x68, 0, 0x61] + tensor.opcodes + [0x61])
    #expect(try read(file.bytes).names == ["1"])
  }

  @Test(
    "Lists of the same lists (a billion laughs) are refused if they expand to far more than the file's size")
  func laughs() throws {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    func bomb(_ leaf: [UInt8]) -> [UInt8] {
      var opcodes = leaf + [0x85, 0x71, 0]
      for level in 1...40 as ClosedRange<UInt8> {
        opcodes += [0x28] + (0..<20).map { $0 % 2 == 0 ? 0x68 : level - 1 } + [0x74, 0x71, level]
      }
      // All values except the last are below it on the stack.
      return [0x28] + opcodes + [0x74]
    }
    file.object = .raw(bomb(tensor.opcodes))
    #expect(
      refusal(of: file.bytes)?.text?.hasPrefix("it expands to far more data than its size allows") == true)
    // The walk visits a list without tensors only once.
    file.object = .list([.raw(bomb([0x4E])), tensor])
    #expect(try read(file.bytes).names == ["1"])
  }

  @Test("A long name in 1,000 places is refused too")
  func names() {
    let long = String(repeating: "n", count: 100_000)
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    let many = PickledValue.list(Array(repeating: tensor, count: 1000))
    file.object = .dictionary([long: many])
    #expect(
      refusal(of: file.bytes)?.text?.hasPrefix("it expands to far more data than its size allows") == true)
  }

  @Test("A tensor whose name is not UTF-8 is refused")
  func encoding() {
    var file = TorchFile()
    let tensor = file.tensor("Float", [1])
    file.object = .pairs([(.raw([0x55, 1, 0xFF]), tensor)])
    #expect(refusal(of: file.bytes)?.text == "a tensor's name is not UTF-8")
  }

  // MARK: - Tensors

  @Test("Shapes, strides, offsets and sizes that exceed the storage or overflow are refused")
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

  @Test("A missing storage, or one whose size differs from the pickle's count, is refused")
  func storages() {
    var file = TorchFile()
    let tensor = file.tensor("Float", [4])
    file.object = .dictionary(["t": tensor])
    var archive = file.archive
    archive.entries.removeAll { $0.name == Array("archive/data/0".utf8) }
    #expect(refusal(of: archive.bytes)?.text == "refers to a missing storage")
    archive.entries.append(.init("archive/data/0", [0, 0, 0]))
    #expect(refusal(of: archive.bytes)?.text == "has 3 bytes, but the pickle declares 4 elements")
  }
}
