import Fixtures
import PyTorch

/// A whole file of PyTorch, in either form: its tensors lie in it.
enum PyTorchFuzzer: Fuzzer {
  /// Files of many kinds of objects.
  static var files: [TorchFile] {
    var file = TorchFile()
    let storage = file.addStorage("Float", count: 12)
    file.object = .ordered([
      "w": file.view(of: storage, offset: 1, [3, 2], strides: [1, 5]), "b": file.tensor("BFloat16", [4]),
      "s": file.tensor("Long", []), "none": .none, "list": .list([file.tensor("Bool", [0, 2])]),
    ])
    var old = TorchFile(isLegacy: true)
    old.object = .ordered(["w": old.tensor("Half", [2, 3]), "b": old.tensor("Double", [2])])
    return [file, old]
  }

  static var seeds: [[UInt8]] { files.map(\.bytes) }

  static func read(_ bytes: [UInt8]) {
    guard let form = PyTorchFile.form(of: bytes), let file = try? PyTorchFile(bytes, form: form) else {
      return
    }
    require(file.trailingBytes <= bytes.count, "more follows than there is")
    for tensor in file.tensors { check(tensor, in: 0..<UInt64(bytes.count)) }
  }

  /// Every element of a tensor lies in its range, and that in its storage.
  static func check(_ tensor: StoredTensor, in storage: Range<UInt64>) {
    require(String(validating: tensor.name, as: UTF8.self) != nil, "a name is no text")
    require(tensor.range.isEmpty || storage.contains(tensor.range), "a tensor leaves its storage")
    require(tensor.shape.count == tensor.strides.count, "a shape has other strides")
    if tensor.shape.contains(0) { return }
    var end: UInt64 = 1
    for (count, stride) in zip(tensor.shape, tensor.strides) {
      let (step, isLarge) = (count - 1).multipliedReportingOverflow(by: stride)
      let (sum, isLarger) = end.addingReportingOverflow(step)
      require(!isLarge && !isLarger, "an element is out of this world")
      end = sum
    }
    require(end * tensor.type.byteCount == UInt64(tensor.range.count), "a tensor's elements are elsewhere")
  }
}

extension Range<UInt64> {
  fileprivate func contains(_ other: Self) -> Bool {
    lowerBound <= other.lowerBound && other.upperBound <= upperBound
  }
}
