import Fixtures
import SystemPackage

@testable import Safetensors
@testable import TensorFS

/// A metadata.json: whatever it holds, its tensors' files are below their directory. What a mount of a model shows is
/// read back as the same tensors.
enum DocumentFuzzer: Fuzzer {
  static var seeds: [[UInt8]] {
    let model = SafetensorsFile(
      [.init("b/w", "BF16", [2, 3]), .init("é\n", "F4", [4])], metadata: ["a \"b\"": "\u{1}"])
    guard let files, let path = try? files.write("m", model),
      let document = try? ModelCollection(opening: [path]).components.first.map({
        MetadataDocument.bytes(of: $0.model)
      })
    else { return [] }
    return [
      document, Array(#"{"tensors":{"a":{"dtype":"U8","shape":[1],"path":"../x"}}}"#.utf8), model.bytes,
      Array(
        #"{"metadata":{"a":{"k":"v"}},"tensors":{"a":{"path":"a//b","shape":[],"dtype":"F64"}},"x":[1.5e3]}"#
          .utf8),
    ]
  }

  static func read(_ bytes: [UInt8]) {
    if let document = try? TensorDocument(reading: bytes.span) { check(document) }
    // The same bytes as a model.
    guard let files, let path = try? files.write("m", bytes),
      let model = try? ModelCollection(opening: [path]).components.first?.model
    else { return }
    guard let document = try? TensorDocument(reading: MetadataDocument.bytes(of: model).span) else {
      fatalError("what a mount shows is not read")
    }
    check(document)
    require(document.entries.count == model.places.count, "a mount shows other tensors")
    for (entry, place) in zip(document.entries, model.places) {
      let tensor = model.tensor(at: place)
      require(
        entry.tensor.name == tensor.name && entry.tensor.dtype == tensor.dtype
          && entry.tensor.shape == tensor.shape,
        "a mount shows \(tensor.name) as another")
    }
  }

  private static let files = try? TemporaryDirectory()

  private static func check(_ document: TensorDocument) {
    for entry in document.entries {
      let components = entry.path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      require(
        components.allSatisfy {
          !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8) && !$0.contains(0)
        },
        "\(PrintableText.quoted(entry.path)) leaves the directory")
      require(
        entry.tensor.dtype.byteCount(of: entry.tensor.shape) == entry.tensor.byteCount,
        "a file has another size")
    }
  }
}
