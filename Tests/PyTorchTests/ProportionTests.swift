import Fixtures
import Glibc
import Testing

@testable import PyTorch

/// Time is that of this thread's processor, and memory what the tables hold: both are the same on a busy
/// machine.
@Suite("Time and memory are in proportion to the pickle", .serialized) struct ProportionTests {
  /// What a small pickle can ask for again and again.
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Opcodes of about so many bytes.
    let opcodes: @Sendable (Int) -> [UInt8]

    init(_ description: String, _ opcodes: @escaping @Sendable (Int) -> [UInt8]) {
      testDescription = description
      self.opcodes = opcodes
    }
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
  /// A list of these opcodes' values, over and over.
  private static func list(of opcodes: [UInt8], bytes: Int) -> [UInt8] {
    joined([0x5D, 0x28], repeated(opcodes, bytes: bytes), [0x65])
  }
  private static let file: TorchFile = {
    var file = TorchFile()
    _ = file.addStorage("Float", count: 1)
    return file
  }()

  static let cases: [Case] = [
    Case("a storage's long key") { size in
      joined(
        remembered(text(size / 2), 0), named("torch", "FloatStorage", 1),
        remembered(PickledValue.string("storage").opcodes, 2),
        list(of: [0x28, 0x68, 2, 0x68, 1, 0x68, 0, 0x68, 2, 0x4B, 1, 0x74, 0x51], bytes: size / 2))
    },
    Case("a tensor of 1,024 dimensions") { size in
      let tensor = file.view(of: 0, Array(repeating: 1, count: 1024))
      return joined(remembered(tensor.opcodes, 0), list(of: [0x68, 0], bytes: size))
    },
    Case("tensors that share a shape of 1,024 dimensions") { size in
      let ones = PickledValue.tuple(Array(repeating: .int(1), count: 1024))
      return joined(
        remembered(ones.opcodes, 0), remembered(file.reference(0).opcodes, 1),
        named("torch._utils", "_rebuild_tensor", 2),
        list(of: [0x68, 2, 0x28, 0x68, 1, 0x4B, 0, 0x68, 0, 0x68, 0, 0x74, 0x52], bytes: size))
    },
    Case("a long key of dictionaries") { size in
      joined(
        remembered(text(size / 2), 0), [0x7D, 0x28], repeated([0x68, 0, 0x5D], bytes: size / 2), [0x75])
    },
    Case("dictionaries with a long key each") { size in
      joined(remembered(text(size / 2), 0), list(of: [0x7D, 0x68, 0, 0x5D, 0x73], bytes: size / 2))
    },
    Case("a class with a long name") { size in
      joined(remembered(text(size / 2), 0), list(of: [0x68, 0, 0x68, 0, 0x93], bytes: size / 2))
    },
    Case("a long list that is copied") { size in
      joined(
        remembered(list(of: [0x4E], bytes: size / 2), 0), named("__builtin__", "list", 1),
        list(of: [0x68, 1, 0x68, 0, 0x85, 0x52], bytes: size / 2))
    },
    Case("a long tuple as arguments and as a state") { size in
      joined(
        remembered(joined([0x28], repeated([0x4E], bytes: size / 2), [0x74]), 0), named("lib", "f", 1),
        list(of: [0x68, 1, 0x68, 0, 0x52, 0x68, 0, 0x62], bytes: size / 2))
    },
    Case("a long tuple as arguments of a tensor") { size in
      joined(
        remembered(joined([0x28], repeated([0x4E], bytes: size / 2), [0x74]), 0),
        named("torch._utils", "_rebuild_qtensor", 1), list(of: [0x68, 1, 0x68, 0, 0x52], bytes: size / 2))
    },
    Case("lists in lists") { size in
      joined(repeated([0x5D], bytes: size / 2), repeated([0x61], bytes: size / 2 - 1))
    },
    Case("tuples of one") { size in joined([0x4E], repeated([0x85], bytes: size)) },
    Case("objects that know each other") { size in
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

  /// Seconds that this thread's processor takes for a file, and the bytes of its tables for a byte of pickle.
  private func cost(_ opcodes: [UInt8]) -> (seconds: Double, memory: Double) {
    let pickle = [0x80, 2] + opcodes + [0x2E]
    var start = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start)
    var bytes = 0
    do throws(FormatError) {
      let read = try PickleMachine.read(pickle, at: 0)
      bytes += read.memory
      var table = TensorTable()
      defer { bytes += table.memory }
      try TensorWalk.walk(
        read, storages: read.storages.map { 0..<$0.count &* $0.type.byteCount }, into: &table)
    } catch {
      // Most are refused once it is plain that they describe more than they hold.
    }
    var end = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end)
    let seconds = Double(end.tv_sec - start.tv_sec) + Double(end.tv_nsec - start.tv_nsec) / 1e9
    return (seconds, Double(bytes) / Double(pickle.count))
  }

  @Test(
    "Four times the pickle takes about four times the time, and 64 bytes of memory for each of its bytes",
    arguments: cases)
  func proportion(_ repeated: Case) {
    let sizes = [50_000, 100_000, 200_000]
    let costs = sizes.map { cost(repeated.opcodes($0)) }
    // What takes less than this is measured in noise. A square would take 16 times the time.
    let floor = 0.02
    #expect(costs[2].seconds < 8 * max(costs[0].seconds, floor), "\(costs)")
    for cost in costs { #expect(cost.memory < 64, "\(costs)") }
  }
}

extension Array {
  fileprivate var memory: Int { count * MemoryLayout<Element>.stride }
}

extension Pickle {
  /// The bytes of the tables.
  fileprivate var memory: Int {
    decoded.memory + integers.memory + texts.memory + items.memory + segments.memory + containers.memory
      + objects.memory + globals.memory + storages.memory + tensors.memory + externals.memory + attributes
      .count * 16
  }
}

extension TensorTable {
  fileprivate var memory: Int {
    names.memory + rows.memory + omissions.memory + descriptions.memory + layouts.memory + dimensions.memory
  }
}
