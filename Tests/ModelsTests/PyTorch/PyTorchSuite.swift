import Fixtures
import SystemPackage
import Testing

import Models

/// A suite of tests that write files of PyTorch into a directory, and open them.
protocol PyTorchSuite {
  var directory: TemporaryDirectory { get }
}

extension PyTorchSuite {
  /// The model of a file or directory.
  func open(_ path: FilePath, lenient: Bool = false) throws(ModelError) -> Model {
    try ModelCollection(opening: [path], OpeningOptions(lenient: lenient)).components[0].model
  }

  /// The error for a file of these bytes.
  func problem(_ bytes: [UInt8]) throws -> String? {
    let path = try directory.write("broken.pt", bytes)
    return #expect(throws: ModelError.self) { try open(path) }?.problem
  }

  /// A file of one tensor of this name.
  func file(_ name: String, isLegacy: Bool = false) -> TorchFile {
    var file = TorchFile(isLegacy: isLegacy)
    let tensor = file.tensor("Byte", [2])
    file.object = .pairs([(.string(name), tensor)])
    return file
  }
}
