import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Compares a source with a manifest, as `sha256sum -c` in a mount of it would: `--check`.
struct ManifestCheck {
  /// A verdict for each line of the manifest; with `quiet`, only for lines that do not match.
  let text: String
  /// How many lines were compared.
  let lines: Int
  /// How many of them do not match.
  let failures: Int
  /// The paths of the tensors that no line names.
  let unlisted: [[UInt8]]

  /// Reads those of `files` that the manifest names, on all processors. A line with another path counts if that path is chosen.
  init(
    _ manifest: Manifest, of files: [HashedFile], quiet: Bool, choosing isChosen: ([UInt8]) -> Bool
  ) throws {
    let byPath = Dictionary(uniqueKeysWithValues: files.enumerated().map { ($0.element.path, $0.offset) })
    let named = Set(manifest.lines.compactMap { byPath[$0.path] })
    let digests = try Manifest.lines(of: named.sorted().map { files[$0] })
    let digestByPath = Dictionary(uniqueKeysWithValues: digests.map { ($0.path, $0.digest) })
    var text = ""
    var failures = 0
    // `sha256sum *` in a mount also lists metadata.json, which is not a tensor.
    let lines = manifest.lines.filter { line in
      digestByPath[line.path] != nil
        || isChosen(line.path)
          && FilePath(bytes: line.path).fileName != Array(TensorDirectory.documentName.utf8)
    }
    for line in lines {
      let digest = digestByPath[line.path]
      if digest != line.digest { failures += 1 }
      let verdict = digest == line.digest ? "OK" : digest == nil ? "FAILED, no such tensor" : "FAILED"
      if !quiet || digest != line.digest { text += "\(PrintableText.plain(line.path)): \(verdict)\n" }
    }
    self.text = text
    self.lines = lines.count
    self.failures = failures
    unlisted = files.indices.filter { !named.contains($0) }.map { files[$0].path }
  }
}
