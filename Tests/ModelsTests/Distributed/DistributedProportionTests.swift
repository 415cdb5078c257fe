import Fixtures
import Testing

@testable import Models

@Suite("Time and memory are proportional to a checkpoint's .metadata", .serialized)
struct DistributedProportionTests {
  /// A `.metadata` that describes much data in few bytes, by repeated references to the same values.
  struct Sample: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// The smallest size at which reading all references takes longer than everything else.
    var size = 10_000
    /// Makes the pickle, of about the given number of bytes.
    let metadata: @Sendable (Int) -> [UInt8]
  }

  /// Opcodes that memoize a value and leave nothing on the stack. ``recalled(_:)`` pushes the value.
  private static func remembered(_ value: [UInt8], _ place: UInt8) -> [UInt8] { value + [0x71, place, 0x30] }
  private static func recalled(_ place: UInt8) -> PickledValue { .raw([0x68, place]) }

  private static func object(_ name: String, _ fields: KeyValuePairs<String, PickledValue>) -> PickledValue {
    .state(.instance(.global("torch.distributed.checkpoint.metadata", name)), .dictionary(fields))
  }

  /// A pickle of values to memoize, and of a description that refers to them.
  private static func metadata(
    _ remembered: [UInt8]..., tensors: PickledValue = .dictionary([:]),
    storage: PickledValue = .dictionary([:])
  ) -> [UInt8] {
    let root = object("Metadata", ["state_dict_metadata": tensors, "storage_data": storage])
    return [0x80, 2] + Array(remembered.joined()) + root.opcodes + [0x2E]
  }

  private static func list(_ item: PickledValue, count: Int) -> PickledValue {
    .list(Array(repeating: item, count: count))
  }

  /// A dictionary of many names that all have the same value.
  private static func names(_ count: Int, _ value: PickledValue) -> PickledValue {
    .pairs((0..<count).map { number -> (PickledValue, PickledValue) in (.string("t\(number)"), value) })
  }

  /// The places of the slices of ``names(_:_:)``. Each slice starts at index 0.
  private static func places(_ count: Int, _ type: PickledValue, _ place: PickledValue) -> PickledValue {
    .pairs(
      (0..<count).map { number -> (PickledValue, PickledValue) in
        let fields = PickledValue.dictionary(["fqn": .string("t\(number)"), "offset": .tuple([])])
        return (.state(.instance(type), fields), place)
      })
  }

  private static let index = PickledValue.global("torch.distributed.checkpoint.metadata", "MetadataIndex")

  private static func place(in file: String) -> PickledValue {
    object("_StorageInfo", ["relative_path": .string(file), "offset": .int(0), "length": .int(1)])
  }

  static let samples = [
    Sample(testDescription: "slices that share a long list of numbers") { size in
      let numbers = remembered(PickledValue.tuple(Array(repeating: .int(1), count: size / 4)).opcodes, 0)
      let chunk = object("ChunkStorageMetadata", ["offsets": recalled(0), "sizes": recalled(0)])
      let chunks = list(recalled(1), count: size / 4)
      let tensor = object("TensorStorageMetadata", ["size": recalled(0), "chunks": chunks])
      return metadata(numbers, remembered(chunk.opcodes, 1), tensors: .pairs([(.string("w"), tensor)]))
    },
    Sample(testDescription: "tensors that share a long list of slices") { size in
      let chunk = object("ChunkStorageMetadata", ["offsets": .tuple([]), "sizes": .tuple([])])
      let chunks = remembered(list(recalled(0), count: size / 4).opcodes, 1)
      let tensor = object("TensorStorageMetadata", ["size": .tuple([]), "chunks": recalled(1)])
      return metadata(
        remembered(chunk.opcodes, 0), chunks, remembered(tensor.opcodes, 2), remembered(index.opcodes, 3),
        remembered(place(in: "f").opcodes, 4), tensors: names(size / 96, recalled(2)),
        storage: places(size / 96, recalled(3), recalled(4)))
    },
    Sample(testDescription: "places that share a long dictionary of attributes", size: 40_000) { size in
      let entries = (0..<size / 12).map { (PickledValue.int(1 << 20 + $0), PickledValue.none) }
      let attributes = PickledValue.pairs(entries)
      let key = PickledValue.state(.instance(recalled(1)), recalled(0))
      return metadata(
        remembered(attributes.opcodes, 0), remembered(index.opcodes, 1),
        storage: .pairs(Array(repeating: (key, PickledValue.none), count: size / 16)))
    },
    Sample(testDescription: "slices in a file with a long name") { size in
      let place = place(in: String(repeating: "f", count: size / 2))
      let empty = PickledValue.tuple([])
      let chunk = object("ChunkStorageMetadata", ["offsets": empty, "sizes": empty])
      let tensor = object("TensorStorageMetadata", ["size": empty, "chunks": .list([chunk])])
      return metadata(
        remembered(place.opcodes, 0), remembered(tensor.opcodes, 1), remembered(index.opcodes, 2),
        tensors: names(size / 96, recalled(1)), storage: places(size / 96, recalled(2), recalled(0)))
    },
  ]

  @Test(
    "Reading a pickle takes time linear in its size, and at most 64 bytes of memory per byte",
    arguments: samples)
  func proportion(_ sample: Sample) throws {
    let directory = try TemporaryDirectory()
    let costs = try Costs(from: sample.size) { size in
      let pickle = sample.metadata(size)
      let path = try directory.write(".metadata", pickle)
      var metadata = DistributedMetadata()
      do throws(ModelError) {
        try metadata.read(path)
      } catch {
        #expect(error.problem.contains("it expands to far more data than its size allows"))
      }
      let memory = metadata.items.reduce(0) { sum, item in
        sum + 400 + item.file.count + 8 * (item.slice.map { $0.start.count + $0.shape.count } ?? 0)
      }
      // Every pickle has this budget.
      #expect(memory < 64 * pickle.count + 1 << 19, "\(memory) bytes for \(pickle.count)")
    }
    #expect(costs.areProportional, "\(costs)")
  }
}
