/// A pickle that describes much data in few bytes, by repetition.
public struct WorstPickle: Sendable, CustomStringConvertible {
  /// A description of the data.
  public let description: String
  /// Makes opcodes of about the given number of bytes, which leave one value on the stack.
  public let opcodes: @Sendable (Int) -> [UInt8]

  private init(_ description: String, _ opcodes: @escaping @Sendable (Int) -> [UInt8]) {
    self.description = description
    self.opcodes = opcodes
  }

  /// A torch.save file with a pickle of about `size` bytes, and the only storage that it names.
  public func file(_ size: Int) -> TorchFile {
    var file = Self.file
    file.object = .raw(opcodes(size))
    return file
  }

  private static func remembered(_ value: [UInt8], _ place: UInt8) -> [UInt8] { value + [0x71, place, 0x30] }
  private static func text(_ count: Int) -> [UInt8] {
    PickledValue.string(String(repeating: "k", count: count)).opcodes
  }
  private static func repeated(_ opcodes: [UInt8], bytes: Int) -> [UInt8] {
    Array(repeatElement(opcodes, count: bytes / opcodes.count).joined())
  }

  private static func joined(_ parts: [UInt8]...) -> [UInt8] { Array(parts.joined()) }
  private static func named(_ module: String, _ name: String, _ place: UInt8) -> [UInt8] {
    remembered(PickledValue.global(module, name).opcodes, place)
  }
  /// A list of the values of these opcodes, repeated.
  private static func list(of opcodes: [UInt8], bytes: Int) -> [UInt8] {
    joined([0x5D, 0x28], repeated(opcodes, bytes: bytes), [0x65])
  }
  private static let file: TorchFile = {
    var file = TorchFile()
    _ = file.addStorage("Float", count: 1)
    return file
  }()

  /// All samples.
  public static let all: [WorstPickle] = [
    WorstPickle("a storage's long key") { size in
      joined(
        remembered(text(size / 2), 0), named("torch", "FloatStorage", 1),
        remembered(PickledValue.string("storage").opcodes, 2),
        list(of: [0x28, 0x68, 2, 0x68, 1, 0x68, 0, 0x68, 2, 0x4B, 1, 0x74, 0x51], bytes: size / 2))
    },
    WorstPickle("a tensor of 1,024 dimensions") { size in
      let tensor = file.view(of: 0, Array(repeating: 1, count: 1024))
      return joined(remembered(tensor.opcodes, 0), list(of: [0x68, 0], bytes: size))
    },
    WorstPickle("tensors that share a shape of 1,024 dimensions") { size in
      let ones = PickledValue.tuple(Array(repeating: .int(1), count: 1024))
      return joined(
        remembered(ones.opcodes, 0), remembered(file.reference(0).opcodes, 1),
        named("torch._utils", "_rebuild_tensor", 2),
        list(of: [0x68, 2, 0x28, 0x68, 1, 0x4B, 0, 0x68, 0, 0x68, 0, 0x74, 0x52], bytes: size))
    },
    WorstPickle("a long key of dictionaries") { size in
      joined(
        remembered(text(size / 2), 0), [0x7D, 0x28], repeated([0x68, 0, 0x5D], bytes: size / 2), [0x75])
    },
    WorstPickle("dictionaries with a long key each") { size in
      joined(remembered(text(size / 2), 0), list(of: [0x7D, 0x68, 0, 0x5D, 0x73], bytes: size / 2))
    },
    WorstPickle("a class with a long name") { size in
      joined(remembered(text(size / 2), 0), list(of: [0x68, 0, 0x68, 0, 0x93], bytes: size / 2))
    },
    WorstPickle("a long list that is copied") { size in
      joined(
        remembered(list(of: [0x4E], bytes: size / 2), 0), named("__builtin__", "list", 1),
        list(of: [0x68, 1, 0x68, 0, 0x85, 0x52], bytes: size / 2))
    },
    WorstPickle("a long tuple as arguments and as a state") { size in
      joined(
        remembered(joined([0x28], repeated([0x4E], bytes: size / 2), [0x74]), 0), named("lib", "f", 1),
        list(of: [0x68, 1, 0x68, 0, 0x52, 0x68, 0, 0x62], bytes: size / 2))
    },
    WorstPickle("a long tuple as arguments of a tensor") { size in
      joined(
        remembered(joined([0x28], repeated([0x4E], bytes: size / 2), [0x74]), 0),
        named("torch._utils", "_rebuild_qtensor", 1), list(of: [0x68, 1, 0x68, 0, 0x52], bytes: size / 2))
    },
    WorstPickle("lists in lists") { size in
      joined(repeated([0x5D], bytes: size / 2), repeated([0x61], bytes: size / 2 - 1))
    },
    WorstPickle("tuples of one") { size in joined([0x4E], repeated([0x85], bytes: size)) },
    WorstPickle("objects that know each other") { size in
      let count = min(250, size / 2000)
      let object = PickledValue.call(.global("lib", "f"), []).opcodes
      var (objects, states, recalled): ([UInt8], [UInt8], [UInt8]) = ([], [], [])
      for place in 0..<UInt8(count) { recalled += [0x68, place] }
      for place in 0..<UInt8(count) {
        objects += remembered(object, place)
        states += [0x68, place, 0x28] + recalled + [0x74, 0x62, 0x30]
      }
      return joined(objects, states, [0x68, 0])
    },
  ]
}
