import Fixtures
import Testing

@testable import PyTorch

/// Tensors that contain other tensors: those of torch.distributed, and of quantisation libraries.
@Suite("Wrapped tensors") struct WrappedTensorTests {
  private var file = TorchFile()
  private let local: PickledValue

  init() { local = file.tensor("Float", [2]) }

  private func wrapper(_ state: PickledValue, _ function: PickledValue? = nil) -> PickledValue {
    .call(
      .global("torch._tensor", "_rebuild_from_type_v2"),
      [
        function ?? .global("torch._utils", "_rebuild_wrapper_subclass"), .global("lib", "Whole"),
        .tuple([.global("lib", "Whole"), .global("torch", "float32")]), state,
      ])
  }

  private func read(_ object: PickledValue) throws -> PyTorchFile {
    var file = file
    file.object = object
    return try PyTorchTests.read(file.bytes)
  }

  private func omitted(_ file: PyTorchFile) -> [String] {
    file.omissions.map { String(decoding: $0.name, as: UTF8.self) }
  }

  @Test("A wrapper tensor is omitted by name, and the tensors in its state are shown below its name")
  func states() throws {
    // A DTensor has slots, a ShardedTensor has a tuple with its shards, and other tensors have attributes.
    let slots = PickledValue.tuple([.none, .dictionary(["_local_tensor": local])])
    let shard = PickledValue.state(
      .instance(.global("torch.distributed._shard.sharded_tensor.shard", "Shard")),
      .dictionary(["tensor": local]))
    let read = try read(
      .dictionary([
        "d": wrapper(slots), "s": wrapper(.tuple([.list([shard]), .none, .none, .none, .bool(false)])),
        "q": wrapper(.dictionary(["int_data": local, "inner": wrapper(.dictionary(["scale": local]))])),
        "own": wrapper(.dictionary(["x": local]), .global("lib", "rebuild")),
        "p": .call(
          .global("torch._utils", "_rebuild_parameter"), [wrapper(slots), .bool(true), .ordered([:])]),
      ]))
    #expect(
      read.names == [
        "d._local_tensor", "s.0.0.tensor", "q.int_data", "q.inner.scale", "own.x", "p._local_tensor",
      ])
    #expect(omitted(read) == ["d", "s", "q", "q.inner", "own", "p"])
  }

  @Test("A wrapper that contains itself, and endlessly nested wrappers, are harmless")
  func cycles() throws {
    // The list is the state of the tensor, and contains the same tensor.
    let list: [UInt8] = [0x5D, 0x71, 0]
    let cycle = PickledValue.raw(list + wrapper(.raw([0x68, 0])).opcodes + [0x61])
    #expect(try read(.dictionary(["c": cycle])).names.isEmpty)
    var chain = local
    for _ in 0..<520 { chain = .raw(wrapper(chain).opcodes) }
    let read = try read(.dictionary(["w": chain]))
    #expect(read.names.isEmpty && read.omissions.last?.reason == .deep)
  }
}
