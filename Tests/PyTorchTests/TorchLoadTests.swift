import Fixtures
import Testing

@testable import PyTorch

/// The results of torch.load of PyTorch 2.13 for the same bytes, case by case.
@Suite("Results of torch.load") struct TorchLoadTests {
  private var file = TorchFile()
  private let storage: Int
  private let a: PickledValue
  private let b: PickledValue

  init() {
    storage = file.addStorage("Float", count: 8)
    a = file.view(of: storage, [2])
    b = file.view(of: storage, offset: 2, [3])
  }

  private func read(_ object: PickledValue) throws -> PyTorchFile {
    var file = file
    file.object = object
    return try PyTorchTests.read(file.bytes)
  }

  private func shapes(_ object: PickledValue) throws -> [String: [UInt64]] {
    Dictionary(try read(object).tensors.map { (String(decoding: $0.name, as: UTF8.self), Array($0.shape)) }) {
      $1
    }
  }

  @Test("The last value of a duplicate key wins; True equals 1, and bytes do not equal text")
  func keys() throws {
    #expect(try shapes(.dictionary(["k": a, "k": b])) == ["k": [3]])
    #expect(try shapes(.dictionary(["k": a, "k": .int(1)])) == [:])
    #expect(try shapes(.pairs([(.int(1), a), (.bool(true), b)])) == ["1": [3]])
    let (text, bytes) = (PickledValue.raw([0x55, 1, 0x6B]), PickledValue.raw([0x43, 1, 0x6B]))
    let both = try read(.pairs([(.string("k"), a), (text, b), (bytes, a)]))
    #expect(both.names == ["k"] && both.tensors[0].shape == [3] && both.omissions.map(\.reason) == [.unnamed])
  }

  @Test("Copies of dictionaries and lists hold the items of the original, and later additions of their own")
  func copies() throws {
    let dictionary = PickledValue.dictionary(["k": a])
    #expect(try shapes(.call(.global("collections", "OrderedDict"), [dictionary])) == ["k": [2]])
    #expect(try shapes(.call(.global("collections", "Counter"), [dictionary])) == ["k": [2]])
    // The pickle makes list(x), and appends an item to the copy. The original does not get the item.
    let copy =
      PickledValue.list([a]).opcodes + [0x71, 0, 0x30] + PickledValue.global("__builtin__", "list").opcodes
      + [0x68, 0, 0x85, 0x52] + b.opcodes + [0x61]
    #expect(try shapes(.list([.raw(copy), .raw([0x68, 0])])) == ["0.0": [2], "0.1": [3], "1.0": [2]])
    // NEWOBJ does not call the class, so the dictionary stays empty.
    #expect(
      try shapes(
        .raw(PickledValue.global("collections", "OrderedDict").opcodes + dictionary.opcodes + [0x85, 0x81]))
        == [:])
    #expect(
      try shapes(.call(.global("collections", "deque"), [.list([a, b]), .int(9)])) == ["0": [2], "1": [3]])
  }

  @Test("A deque keeps its last maxlen items, counting initial and added ones")
  func limits() throws {
    func deque(_ items: [PickledValue], _ limit: PickledValue, adding more: [PickledValue] = [])
      -> PickledValue
    {
      let made = PickledValue.call(.global("collections", "deque"), [.list(items), limit])
      return .raw(made.opcodes + [0x28] + more.flatMap(\.opcodes) + [0x65])
    }
    #expect(try shapes(deque([a, b], .int(1))) == ["0": [3]])
    #expect(try shapes(deque([a], .int(2), adding: [a, b])) == ["0": [2], "1": [3]])
    #expect(try shapes(deque([a], .int(0), adding: [b])) == [:])
    #expect(try shapes(deque([a], .none, adding: [b])) == ["0": [2], "1": [3]])
  }

  private func metadata(_ entries: [(PickledValue, PickledValue)]) -> PickledValue {
    .call(
      .global("torch._utils", "_rebuild_tensor_v2"),
      [
        file.reference(storage), .int(0), .tuple([.int(1)]), .tuple([.int(1)]), .bool(false), .ordered([:]),
        .pairs(entries),
      ])
  }

  @Test("A tensor with the key neg or conj is omitted, whatever the value and the position of the key")
  func lazy() throws {
    let others = (0..<100).map { (PickledValue.string("x\($0)"), PickledValue.bool(true)) }
    for key in ["neg", "conj"] {
      for entries: [(PickledValue, PickledValue)] in [
        [(.string(key), .bool(true))], [(.string(key), .bool(false))],
        [(.string(key), .bool(true)), (.string(key), .bool(false))], others + [(.string(key), .bool(true))],
      ] {
        let read = try read(.dictionary(["t": metadata(entries)]))
        #expect(read.names.isEmpty && read.omissions.map(\.reason) == [.lazy])
      }
    }
    #expect(try read(.dictionary(["t": metadata(others)])).names == ["t"])
    #expect(try read(.dictionary(["t": metadata([])])).names == ["t"])
  }

  @Test("The first reference to a storage's key decides its dtype")
  func twoTypes() throws {
    let file = file
    func reference(_ type: String, _ count: Int) -> PickledValue {
      .persistent(
        .tuple([
          .string("storage"), .global("torch", type), .string("\(storage)"), .string("cpu"), .int(count),
        ]))
    }
    func tensor(_ reference: PickledValue) -> PickledValue {
      .call(
        .global("torch._utils", "_rebuild_tensor_v2"),
        [reference, .int(0), .tuple([.int(2)]), .tuple([.int(1)]), .bool(false), .ordered([:])])
    }
    var first = file
    first.object = .list([tensor(reference("FloatStorage", 8)), tensor(reference("DoubleStorage", 4))])
    #expect(try PyTorchTests.read(first.bytes).tensors.map(\.type) == [.float32, .float32])
    first.object = .list([tensor(reference("DoubleStorage", 4)), tensor(reference("FloatStorage", 8))])
    #expect(try PyTorchTests.read(first.bytes).tensors.map(\.type) == [.float64, .float64])
    // Each reference to an archive's storage without elements is a separate storage.
    var empty = TorchFile()
    let none = empty.addStorage("Float", count: 0)
    func view(_ type: String) -> PickledValue {
      .call(
        .global("torch._utils", "_rebuild_tensor_v2"),
        [
          .persistent(
            .tuple([.string("storage"), .global("torch", type), .string("\(none)"), .string("cpu"), .int(0)])),
          .int(0), .tuple([.int(0)]), .tuple([.int(1)]), .bool(false), .ordered([:]),
        ])
    }
    empty.object = .list([view("FloatStorage"), view("HalfStorage"), view("FloatStorage")])
    #expect(try PyTorchTests.read(empty.bytes).tensors.map(\.type) == [.float32, .float16, .float32])
  }

  @Test(
    "A state of four items replaces a tensor's elements, one of five the tensor, and one of three nothing")
  func tensorStates() throws {
    func state(_ tensor: PickledValue, _ items: [PickledValue]) -> PickledValue {
      .state(tensor, .tuple(items))
    }
    let elements: [PickledValue] = [file.reference(storage), .int(1), .tuple([.int(4)]), .tuple([.int(1)])]
    #expect(try shapes(state(a, elements)) == ["tensor": [4]])
    #expect(try shapes(state(.call(.global("torch", "FloatTensor"), []), elements)) == ["tensor": [4]])
    #expect(
      try shapes(state(.call(.global("torch", "FloatTensor"), []), [.bool(false), .none, .ordered([:])])) == [
        "tensor": [0]
      ])
    #expect(try shapes(state(a, [b, .none, .none, .bool(true), .none])) == ["tensor": [3]])
    #expect(try shapes(state(a, [.bool(true), .none, .ordered([:])])) == ["tensor": [2]])
    // A parameter is a separate tensor.
    let parameter = PickledValue.call(
      .global("torch._utils", "_rebuild_parameter"), [.raw([0x68, 0]), .bool(true), .none])
    #expect(
      try shapes(.list([.raw(a.opcodes + [0x71, 0]), state(parameter, elements)])) == ["0": [2], "1": [4]])
    var file = file
    file.object = state(.call(.global("torch", "HalfTensor"), []), elements)
    #expect(refusal(of: file.bytes)?.text == "has two dtypes")
    file.object = state(a, [.int(1)])
    #expect(refusal(of: file.bytes)?.text == "a tensor's state has an unknown form")
  }

  @Test("Shapes whose product overflows are refused, even if another dimension is 0")
  func overflow() throws {
    var file = file
    for shape in [[1 << 62, 1 << 62, 0], [0, 1 << 62, 1 << 62], [1 << 62, 4, 0]] {
      file.object = .dictionary(["t": file.view(of: storage, shape, strides: [0, 0, 0])])
      #expect(
        refusal(of: file.bytes)?.problem
          == .malformed(.tensor([0x74]), "exceeds its storage, or the maximum size of a file"))
    }
    #expect(
      try shapes(.dictionary(["t": file.view(of: storage, [1 << 62, 0], strides: [1, 1])])) == [
        "t": [1 << 62, 0]
      ])
  }

  @Test("Legacy files may have views of storages with keys of their own")
  func views() throws {
    var file = TorchFile(isLegacy: true)
    let storage = file.addStorage("Float", count: 8)
    func reference(_ view: PickledValue) -> PickledValue {
      .persistent(
        .tuple([
          .string("storage"), .global("torch", "FloatStorage"), .string("\(storage)"), .string("cpu"),
          .int(8), view,
        ]))
    }
    func tensor(_ reference: PickledValue, _ count: Int) -> PickledValue {
      .call(
        .global("torch._utils", "_rebuild_tensor_v2"),
        [reference, .int(1), .tuple([.int(count)]), .tuple([.int(1)]), .bool(false), .ordered([:])])
    }
    let part = reference(.tuple([.string("part"), .int(4), .int(3)]))
    file.object = .list([tensor(part, 2), tensor(reference(.none), 7)])
    let start = UInt64(file.offset(of: storage))
    #expect(try PyTorchTests.read(file.bytes).tensors.map { $0.range.lowerBound - start } == [20, 4])
    // The view ends where its part ends, and the part ends inside the storage.
    file.object = .list([tensor(part, 3)])
    #expect(refusal(of: file.bytes)?.text?.hasPrefix("exceeds its storage") == true)
    file.object = .list([tensor(reference(.tuple([.string("part"), .int(4), .int(5)])), 2)])
    #expect(refusal(of: file.bytes)?.text == "has a storage with fewer bytes than declared")
  }

  @Test("A legacy file that is also a tar archive is refused, since torch.load would read the archive")
  func legacyTar() {
    var file = TorchFile(isLegacy: true)
    file.object = .list([file.tensor("Float", [200])])
    var bytes = file.bytes
    // Writes the checksum into the tar header.
    bytes.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
    let sum = String(bytes[..<512].reduce(0) { $0 + Int($1) }, radix: 8)
    bytes.replaceSubrange(
      148..<156, with: Array((String(repeating: "0", count: 6 - sum.count) + sum).utf8) + [0, 0x20])
    #expect(refusal(of: bytes)?.text?.contains("also a valid tar archive") == true)
  }
}
