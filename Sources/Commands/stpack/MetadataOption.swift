import Glibc
import Linux
import Models
import Safetensors
import TensorFiles

/// The `__metadata__` options of the command line.
struct MetadataOption {
  /// Entries that take precedence over the inputs': `--metadata KEY=VALUE`; the last of one key counts.
  private var given: [(key: [UInt8], value: [UInt8])] = []
  /// False with `--no-metadata`: the inputs' entries are dropped.
  private let keepsInputs: Bool

  /// Reads the command line's entries.
  init(keepsInputs: Bool, given: [String]) throws(Failure) {
    self.keepsInputs = keepsInputs
    for text in given {
      let bytes = text.argumentBytes
      let parts = bytes.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      func usage(_ problem: String) -> Failure {
        .usage("--metadata '\(text)': \(problem)", command: "stpack")
      }
      guard parts.count == 2 else { throw usage("expected KEY=VALUE") }
      guard String(validating: bytes, as: UTF8.self) != nil else {
        throw usage("__metadata__ keys and values must be UTF-8")
      }
      self.given.append((Array(parts[0]), Array(parts[1])))
    }
  }

  /// All entries. A key to which two files give different values is an error, unless the command line gives it one.
  func merged(_ inputs: [PackInput]) throws(Failure) -> MergedMetadata.Entries {
    do throws(MergedMetadata.Conflict) {
      return try MergedMetadata(keepsInputs ? inputs.flatMap(\.metadata) : [], given: given).entries
    } catch {
      throw Failure(
        status: EX_DATAERR,
        "__metadata__ has two values for \(PrintableText.quoted(error.key)): "
          + "\(PrintableText.quoted(error.first.value)) in \(error.first.source.printable), "
          + "\(PrintableText.quoted(error.second.value)) in \(error.second.source.printable); choose with --metadata, or "
          + "drop all with --no-metadata")
    }
  }
}
