import Fixtures
import Testing

@testable import PyTorch

/// Time is the processor time of this thread, and memory is the size of the tables. A busy machine changes neither.
@Suite("Time and memory are proportional to the pickle", .serialized) struct ProportionTests {
  /// The processor time of this thread for a file, in seconds, and the bytes of its tables per byte of pickle.
  private func cost(_ opcodes: [UInt8]) -> (seconds: Double, memory: Double) {
    let pickle = [0x80, 2] + opcodes + [0x2E]
    let start = Costs.now
    var bytes = 0
    do throws(FormatError) {
      let read = try PickleMachine.read(pickle, at: 0)
      bytes += read.memory
      var table = TensorTable()
      defer { bytes += table.memory }
      try TensorWalk.walk(
        read, storages: read.storages.map { 0..<$0.count &* $0.type.byteCount }, into: &table)
    } catch {
      // The reader refuses most of these pickles when it sees that they describe too much data.
    }
    return (Costs.now - start, Double(bytes) / Double(pickle.count))
  }

  @Test(
    "Reading a pickle takes time linear in its size, and at most 64 bytes of memory per byte",
    arguments: WorstPickle.all)
  func proportion(_ pickle: WorstPickle) async {
    let costs = await Costs(
      from: 50_000,
      seconds: { size in
        let cost = cost(pickle.opcodes(size))
        #expect(cost.memory < 64, "of \(size) bytes")
        return cost.seconds
      })
    #expect(costs.areProportional, "\(costs)")
  }
}

extension Array {
  fileprivate var memory: Int { count * MemoryLayout<Element>.stride }
}

extension Pickle {
  /// The size of the tables, in bytes.
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
