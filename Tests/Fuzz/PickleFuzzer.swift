import Fixtures

@testable import PyTorch

/// A pickle, of PyTorch or TorchScript by its first byte: its tensors lie in the storages that it names, and what it makes
/// is no larger than itself.
enum PickleFuzzer: Fuzzer {
  static var seeds: [[UInt8]] {
    PyTorchFuzzer.files.map { [0] + $0.object.pickle } + [
      [0] + Array("cposix\nsystem\n(S'id'\ntR.".utf8), [1, 0x80, 2, 0x7D, 0x2E],
    ]
  }

  static func read(_ bytes: [UInt8]) {
    guard let first = bytes.first,
      let pickle = try? PickleMachine.read(Array(bytes.dropFirst()), at: 0, isTorchScript: first & 1 == 1)
    else { return }
    require(pickle.storages.count <= bytes.count && pickle.size <= bytes.count, "there is more than was read")
    var storages: [[UInt8]: Range<UInt64>] = [:]
    for storage in pickle.storages { storages[Array(pickle[storage.key])] = 1000..<1000 + (1 << 20) }
    guard let walk = try? TensorWalk(pickle, storages: storages) else { return }
    for tensor in walk.tensors { PyTorchFuzzer.check(tensor, in: 1000..<1000 + (1 << 20)) }
  }
}
