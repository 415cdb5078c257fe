import Glibc
import Linux
import Models
import Safetensors
import TensorFiles

/// The `__metadata__` of what is written, put together from all inputs and the command line.
struct MetadataMerge {
  /// False with `--no-metadata`: what the inputs have is dropped.
  var keepsInputs = true
  /// Entries of the command line, `--metadata KEY=VALUE`, which win.
  var given: [(key: [UInt8], value: [UInt8])] = []

  /// Reads the command line's entries; the last of one key counts.
  init(keepsInputs: Bool, given: [String]) throws(Failure) {
    self.keepsInputs = keepsInputs
    for text in given {
      let bytes = text.argumentBytes
      let parts = bytes.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      func usage(_ problem: String) -> Failure {
        .usage("--metadata \(PrintableText.quoted(bytes)): \(problem)", command: "stpack")
      }
      guard parts.count == 2 else { throw usage("expected KEY=VALUE") }
      guard String(validating: bytes, as: UTF8.self) != nil else {
        throw usage("__metadata__ holds UTF-8 alone")
      }
      self.given.append((Array(parts[0]), Array(parts[1])))
    }
  }

  /// All entries, in the order of their keys' bytes. A key to which two files give different values is an error, unless the
  /// command line gives it one.
  func merge(_ inputs: [PackInput]) throws(Failure) -> PackInput.Metadata {
    var merged: [[UInt8]: (value: [UInt8], source: String?)] = [:]
    for entry in given { merged[entry.key] = (entry.value, nil) }
    for input in keepsInputs ? inputs : [] {
      for (source, entries) in input.metadata {
        for entry in entries {
          let key = Array(entry.key)
          guard let former = merged[key] else {
            merged[key] = (Array(entry.value), source.printable)
            continue
          }
          guard let other = former.source, former.value != Array(entry.value) else { continue }
          throw Failure(
            status: EX_DATAERR,
            "__metadata__ has two values for \(PrintableText.quoted(key)): \(PrintableText.quoted(former.value)) in "
              + "\(other), \(PrintableText.quoted(entry.value)) in \(source.printable); choose with --metadata, or drop all "
              + "with --no-metadata")
        }
      }
    }
    return merged.sorted { compareBytes($0.key[...], $1.key[...]) < 0 }
      .map { ($0.key[...], $0.value.value[...]) }
  }
}
